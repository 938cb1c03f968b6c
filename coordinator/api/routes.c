/* All operations. tests/store/test_openapi.py reads this table and api/openapi.yaml. */
#include "coordinator/api/api.h"
#include "coordinator/api/handlers.h"

/* clang-format off */
const struct http_route api_routes[] = {
    {"GET", "/healthz", ACCESS_PLAIN, api_health},
    {"GET", "/readyz", ACCESS_OPEN, api_ready},
    {"GET", "/openapi.yaml", ACCESS_PLAIN, api_openapi},
    {"GET", "/metrics", ACCESS_VIEWER, api_metrics},

    {"GET", "/v1/pools", ACCESS_VIEWER, api_pools_list},
    {"POST", "/v1/pools", ACCESS_ADMIN, api_pools_create},
    {"GET", "/v1/pools/{id}", ACCESS_VIEWER, api_pools_show},
    {"POST", "/v1/enrolments", ACCESS_ADMIN, api_enrolments_create},

    {"GET", "/v1/hosts", ACCESS_VIEWER, api_hosts_list},
    {"GET", "/v1/hosts/{id}", ACCESS_VIEWER, api_hosts_show},
    {"GET", "/v1/networks", ACCESS_VIEWER, api_networks_list},
    {"GET", "/v1/srs", ACCESS_VIEWER, api_srs_list},
    {"GET", "/v1/vms", ACCESS_VIEWER, api_vms_list},
    {"GET", "/v1/vms/{id}", ACCESS_VIEWER, api_vms_show},

    {"GET", "/v1/mapping-sets", ACCESS_VIEWER, api_mapping_sets_list},
    {"POST", "/v1/mapping-sets", ACCESS_OPERATOR, api_mapping_sets_create},
    {"GET", "/v1/mapping-sets/{id}", ACCESS_VIEWER, api_mapping_sets_show},
    {"PUT", "/v1/mapping-sets/{id}", ACCESS_OPERATOR, api_mapping_sets_replace},
    {"DELETE", "/v1/mapping-sets/{id}", ACCESS_OPERATOR, api_mapping_sets_remove},

    {"POST", "/v1/migrations", ACCESS_OPERATOR, api_migrations_create},
    {"GET", "/v1/migrations", ACCESS_VIEWER, api_migrations_list},
    {"GET", "/v1/migrations/{id}", ACCESS_VIEWER, api_migrations_show},
    {"POST", "/v1/migrations/{id}/cancel", ACCESS_OPERATOR, api_migrations_cancel},
    {"GET", "/v1/leftovers", ACCESS_VIEWER, api_leftovers_list},

    {"GET", "/v1/events", ACCESS_VIEWER, api_events},
    {"GET", "/v1/webhooks", ACCESS_ADMIN, api_webhooks_list},
    {"POST", "/v1/webhooks", ACCESS_ADMIN, api_webhooks_create},
    {"GET", "/v1/webhooks/{id}", ACCESS_ADMIN, api_webhooks_show},
    {"PUT", "/v1/webhooks/{id}", ACCESS_ADMIN, api_webhooks_replace},
    {"DELETE", "/v1/webhooks/{id}", ACCESS_ADMIN, api_webhooks_remove},
    {"POST", "/v1/webhooks/{id}/test", ACCESS_ADMIN, api_webhooks_test},
    {"GET", "/v1/webhooks/{id}/deliveries", ACCESS_ADMIN, api_webhook_deliveries_list},
    {"POST", "/v1/webhooks/{id}/deliveries/{delivery}/retry", ACCESS_ADMIN, api_webhook_deliveries_retry},

    {"POST", "/agent/v1/enrol", ACCESS_OPEN, api_agent_enrol},
    {"POST", "/agent/v1/renew", ACCESS_AGENT, api_agent_renew},
    {"POST", "/agent/v1/report", ACCESS_AGENT, api_agent_report},
    {"POST", "/agent/v1/poll", ACCESS_AGENT, api_agent_poll},
};
/* clang-format on */
const size_t api_route_count = sizeof api_routes / sizeof *api_routes;
