/* All operations. tests/api/test_openapi.py reads this table and api/openapi.yaml. */
#include "coordinator/api/api.h"
#include "coordinator/api/handlers.h"

/* A migration as it is shown: its own row, progress and steps, and the names and the silence of its
 * hosts. */
static const char *const of_migration[] = {"migration {}", "migration *", "host", "pool", NULL};
static const char *const of_migrations[] = {"migration", "host", "pool", NULL};

/* Most rows need no more than the first four members. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
/* clang-format off */
const struct http_route api_routes[] = {
    {"GET", "/healthz", ACCESS_PLAIN, api_health, SCOPE_NONE},
    {"GET", "/readyz", ACCESS_OPEN, api_ready, SCOPE_NONE},
    {"GET", "/openapi.yaml", ACCESS_PLAIN, api_openapi, SCOPE_NONE},
    {"GET", "/docs", ACCESS_PLAIN, api_docs, SCOPE_NONE},
    {"GET", "/metrics", ACCESS_VIEWER, api_metrics, SCOPE_WHOLE},

    {"GET", "/v1/pools", ACCESS_VIEWER, api_pools_list, SCOPE_OBJECTS},
    {"POST", "/v1/pools", ACCESS_ADMIN, api_pools_create, SCOPE_WHOLE},
    {"GET", "/v1/pools/{id}", ACCESS_VIEWER, api_pools_show, SCOPE_OBJECTS},
    {"GET", "/v1/pools/{id}/cpu", ACCESS_VIEWER, api_pools_cpu, SCOPE_OBJECTS},
    {"POST", "/v1/pools/{id}/maintenance", ACCESS_OPERATOR, api_pools_begin_maintenance, SCOPE_OBJECTS},
    {"DELETE", "/v1/pools/{id}/maintenance", ACCESS_OPERATOR, api_pools_end_maintenance, SCOPE_OBJECTS},
    {"POST", "/v1/enrolments", ACCESS_ADMIN, api_enrolments_create, SCOPE_OBJECTS},

    {"GET", "/v1/hosts", ACCESS_VIEWER, api_hosts_list, SCOPE_OBJECTS},
    {"GET", "/v1/hosts/{id}", ACCESS_VIEWER, api_hosts_show, SCOPE_OBJECTS},
    {"POST", "/v1/hosts/{id}/revoke", ACCESS_ADMIN, api_hosts_revoke, SCOPE_OBJECTS},
    {"POST", "/v1/hosts/{id}/maintenance", ACCESS_OPERATOR, api_hosts_begin_maintenance, SCOPE_OBJECTS},
    {"DELETE", "/v1/hosts/{id}/maintenance", ACCESS_OPERATOR, api_hosts_end_maintenance, SCOPE_OBJECTS},
    {"GET", "/v1/inventory", ACCESS_VIEWER, api_inventory_show, SCOPE_OBJECTS},
    {"GET", "/v1/networks", ACCESS_VIEWER, api_networks_list, SCOPE_OBJECTS},
    {"GET", "/v1/srs", ACCESS_VIEWER, api_srs_list, SCOPE_OBJECTS},
    {"GET", "/v1/vms", ACCESS_VIEWER, api_vms_list, SCOPE_OBJECTS},
    {"GET", "/v1/vms/{id}", ACCESS_VIEWER, api_vms_show, SCOPE_OBJECTS},

    {"GET", "/v1/mapping-sets", ACCESS_VIEWER, api_mapping_sets_list, SCOPE_SHARED},
    {"POST", "/v1/mapping-sets", ACCESS_OPERATOR, api_mapping_sets_create, SCOPE_WHOLE},
    {"GET", "/v1/mapping-sets/{id}", ACCESS_VIEWER, api_mapping_sets_show, SCOPE_SHARED},
    {"PUT", "/v1/mapping-sets/{id}", ACCESS_OPERATOR, api_mapping_sets_replace, SCOPE_WHOLE, .current = api_mapping_sets_current},
    {"DELETE", "/v1/mapping-sets/{id}", ACCESS_OPERATOR, api_mapping_sets_remove, SCOPE_WHOLE, .current = api_mapping_sets_current},

    {"POST", "/v1/migrations", ACCESS_OPERATOR, api_migrations_create, SCOPE_OBJECTS},
    {"GET", "/v1/migrations", ACCESS_VIEWER, api_migrations_list, SCOPE_OBJECTS, .topics = of_migrations},
    {"GET", "/v1/migrations/{id}", ACCESS_VIEWER, api_migrations_show, SCOPE_MIGRATION, .topics = of_migration},
    {"POST", "/v1/migrations/{id}/cancel", ACCESS_OPERATOR, api_migrations_cancel, SCOPE_MIGRATION, .current = api_migrations_current},
    {"PATCH", "/v1/migrations/{id}", ACCESS_OPERATOR, api_migrations_change, SCOPE_MIGRATION, .current = api_migrations_current},
    {"POST", "/v1/migrations/{id}/pause", ACCESS_OPERATOR, api_migrations_pause, SCOPE_MIGRATION, .current = api_migrations_current},
    {"POST", "/v1/migrations/{id}/resume", ACCESS_OPERATOR, api_migrations_resume, SCOPE_MIGRATION, .current = api_migrations_current},
    {"POST", "/v1/migrations/{id}/switchover", ACCESS_OPERATOR, api_migrations_switchover, SCOPE_MIGRATION, .current = api_migrations_current},
    {"GET", "/v1/leftovers", ACCESS_VIEWER, api_leftovers_list, SCOPE_OBJECTS},

    {"POST", "/v1/evacuations", ACCESS_OPERATOR, api_evacuations_create, SCOPE_OBJECTS},
    {"GET", "/v1/evacuations", ACCESS_VIEWER, api_evacuations_list, SCOPE_OBJECTS},
    {"GET", "/v1/evacuations/{id}", ACCESS_VIEWER, api_evacuations_show, SCOPE_OBJECTS},
    {"POST", "/v1/evacuations/{id}/pause", ACCESS_OPERATOR, api_evacuations_pause, SCOPE_OBJECTS, .current = api_evacuations_current},
    {"POST", "/v1/evacuations/{id}/resume", ACCESS_OPERATOR, api_evacuations_resume, SCOPE_OBJECTS, .current = api_evacuations_current},
    {"POST", "/v1/evacuations/{id}/cancel", ACCESS_OPERATOR, api_evacuations_cancel, SCOPE_OBJECTS, .current = api_evacuations_current},
    {"POST", "/v1/evacuations/{id}/vms/{vm}/retry", ACCESS_OPERATOR, api_evacuations_retry, SCOPE_OBJECTS},
    {"POST", "/v1/evacuations/{id}/return", ACCESS_OPERATOR, api_evacuations_return, SCOPE_OBJECTS},

    {"GET", "/v1/tokens", ACCESS_ADMIN, api_tokens_list, SCOPE_WHOLE},
    {"POST", "/v1/tokens", ACCESS_ADMIN, api_tokens_create, SCOPE_WHOLE},
    {"GET", "/v1/tokens/{id}", ACCESS_ADMIN, api_tokens_show, SCOPE_WHOLE},
    {"DELETE", "/v1/tokens/{id}", ACCESS_ADMIN, api_tokens_revoke, SCOPE_WHOLE},
    {"GET", "/v1/audit", ACCESS_ADMIN, api_audit_list, SCOPE_WHOLE},

    {"GET", "/v1/events", ACCESS_VIEWER, api_events, SCOPE_OBJECTS},
    {"GET", "/v1/webhooks", ACCESS_ADMIN, api_webhooks_list, SCOPE_WHOLE},
    {"POST", "/v1/webhooks", ACCESS_ADMIN, api_webhooks_create, SCOPE_WHOLE},
    {"GET", "/v1/webhooks/{id}", ACCESS_ADMIN, api_webhooks_show, SCOPE_WHOLE},
    {"PUT", "/v1/webhooks/{id}", ACCESS_ADMIN, api_webhooks_replace, SCOPE_WHOLE},
    {"DELETE", "/v1/webhooks/{id}", ACCESS_ADMIN, api_webhooks_remove, SCOPE_WHOLE},
    {"POST", "/v1/webhooks/{id}/test", ACCESS_ADMIN, api_webhooks_test, SCOPE_WHOLE},
    {"GET", "/v1/webhooks/{id}/deliveries", ACCESS_ADMIN, api_webhook_deliveries_list, SCOPE_WHOLE},
    {"POST", "/v1/webhooks/{id}/deliveries/{delivery}/retry", ACCESS_ADMIN, api_webhook_deliveries_retry, SCOPE_WHOLE},

    {"POST", "/agent/v1/enrol", ACCESS_OPEN, api_agent_enrol, SCOPE_NONE},
    {"POST", "/agent/v1/renew", ACCESS_AGENT, api_agent_renew, SCOPE_NONE},
    {"POST", "/agent/v1/report", ACCESS_AGENT, api_agent_report, SCOPE_NONE},
    {"POST", "/agent/v1/poll", ACCESS_AGENT, api_agent_poll, SCOPE_NONE},
};
/* clang-format on */
#pragma GCC diagnostic pop
const size_t api_route_count = sizeof api_routes / sizeof *api_routes;
