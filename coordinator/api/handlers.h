/* The handlers behind the routes table: one file a resource, named after it. Each gets a
 * struct api_context as `context`. */
#pragma once

#include "coordinator/http/http.h"

/* health.c, metrics.c, openapi.c, docs.c */
http_handler api_health;
http_handler api_ready;
http_handler api_metrics;
http_handler api_openapi;
http_handler api_docs;

/* pools.c */
http_handler api_pools_list;
http_handler api_pools_show;
http_handler api_pools_cpu;
http_handler api_pools_create;

/* maintenance.c, inventory.c */
http_handler api_hosts_begin_maintenance;
http_handler api_hosts_end_maintenance;
http_handler api_pools_begin_maintenance;
http_handler api_pools_end_maintenance;
http_handler api_inventory_show;

/* enrolments.c */
http_handler api_enrolments_create;
http_handler api_agent_enrol;
http_handler api_agent_renew;

/* hosts.c, networks.c, srs.c, vms.c */
http_handler api_hosts_list;
http_handler api_hosts_show;
http_handler api_hosts_revoke;
http_handler api_networks_list;
http_handler api_srs_list;
http_handler api_vms_list;
http_handler api_vms_show;

/* mapping_sets.c */
http_handler api_mapping_sets_list;
http_handler api_mapping_sets_create;
http_handler api_mapping_sets_show;
http_handler api_mapping_sets_replace;
http_handler api_mapping_sets_remove;
http_handler api_mapping_sets_current; /* for If-Match */

/* migrations.c */
http_handler api_migrations_create;
http_handler api_migrations_list;
http_handler api_migrations_show;
http_handler api_migrations_cancel;
http_handler api_migrations_current; /* for If-Match */

/* migration_control.c */
http_handler api_migrations_change;
http_handler api_migrations_pause;
http_handler api_migrations_resume;
http_handler api_migrations_switchover;

/* evacuations.c */
http_handler api_evacuations_create;
http_handler api_evacuations_list;
http_handler api_evacuations_show;
http_handler api_evacuations_current; /* for If-Match */

/* evacuation_control.c */
http_handler api_evacuations_pause;
http_handler api_evacuations_resume;
http_handler api_evacuations_cancel;
http_handler api_evacuations_retry;
http_handler api_evacuations_return;

/* leftovers.c */
http_handler api_leftovers_list;

/* tokens.c, audit.c */
http_handler api_tokens_list;
http_handler api_tokens_create;
http_handler api_tokens_show;
http_handler api_tokens_revoke;
http_handler api_audit_list;

/* events.c */
http_handler api_events;

/* webhooks.c, webhook_deliveries.c */
http_handler api_webhooks_list;
http_handler api_webhooks_create;
http_handler api_webhooks_show;
http_handler api_webhooks_replace;
http_handler api_webhooks_remove;
http_handler api_webhooks_test;
http_handler api_webhook_deliveries_list;
http_handler api_webhook_deliveries_retry;

/* agent.c */
http_handler api_agent_report;
http_handler api_agent_poll;
