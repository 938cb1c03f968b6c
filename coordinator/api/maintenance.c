/* Maintenance of hosts and pools: begin and end. Both answer with the object and are safe to
 * repeat.
 */
#include "coordinator/api/api.h"
#include "coordinator/api/handlers.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "coordinator/security/config.h"
#include "coordinator/store/listing.h"
#include "coordinator/store/maintenance_store.h"
#include "coordinator/store/pool_store.h"

static const char *const no_parameters[] = {NULL};

static bool find(struct http_request *request, enum maintenance_kind kind, char id[UUID_SIZE],
                 struct error *err)
{
    const char *scope = request->token.scope;
    const char *name = request->parameters[0];
    return http_query_only(request, no_parameters, err) &&
           (kind == MAINTENANCE_HOST ? listing_find_host(request->db, scope, name, id, err)
                                     : listing_find_pool(request->db, scope, name, id, err));
}

static bool show(const struct api_context *api, const struct http_request *request,
                 enum maintenance_kind kind, const char *id, char **body, struct error *err)
{
    const char *scope = request->token.scope;
    return kind == MAINTENANCE_HOST
               ? listing_host(request->db, scope, id, api->config->host_lost_after_s, body, err)
               : pool_store_show(request->db, scope, id, body, err);
}

static bool set(void *context, struct http_request *request, enum maintenance_kind kind,
                bool is_in_maintenance, struct http_answer *answer, struct error *err)
{
    const char *word = kind == MAINTENANCE_HOST ? "host" : "pool";
    char id[UUID_SIZE];
    auto_free char *before = NULL;
    if (!find(request, kind, id, err) || !show(context, request, kind, id, &before, err) ||
        !maintenance_store_set(request->db, kind, id, is_in_maintenance, err) ||
        !show(context, request, kind, id, &answer->body, err))
        return false;
    log_info("token %s %s the maintenance of %s %s", request->token.name,
             is_in_maintenance ? "began" : "ended", word, id);
    http_audit(request, word, id, before, answer->body);
    return true;
}

bool api_hosts_begin_maintenance(void *context, struct http_request *request, bool is_last_call,
                                 struct http_answer *answer, struct error *err)
{
    (void)is_last_call;
    return set(context, request, MAINTENANCE_HOST, true, answer, err);
}

bool api_hosts_end_maintenance(void *context, struct http_request *request, bool is_last_call,
                               struct http_answer *answer, struct error *err)
{
    (void)is_last_call;
    return set(context, request, MAINTENANCE_HOST, false, answer, err);
}

bool api_pools_begin_maintenance(void *context, struct http_request *request, bool is_last_call,
                                 struct http_answer *answer, struct error *err)
{
    (void)is_last_call;
    return set(context, request, MAINTENANCE_POOL, true, answer, err);
}

bool api_pools_end_maintenance(void *context, struct http_request *request, bool is_last_call,
                               struct http_answer *answer, struct error *err)
{
    (void)is_last_call;
    return set(context, request, MAINTENANCE_POOL, false, answer, err);
}
