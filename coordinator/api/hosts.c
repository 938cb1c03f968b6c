/* Hosts: list, show, revoke. */
#include "coordinator/api/api.h"
#include "coordinator/api/handlers.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "coordinator/security/certificate.h"
#include "coordinator/security/config.h"
#include "coordinator/store/listing.h"

static const char *const no_parameters[] = {NULL};

bool api_hosts_list(void *context, struct http_request *request, bool is_last_call,
                    struct http_answer *answer, struct error *err)
{
    const struct api_context *api = context;
    (void)is_last_call;
    struct db_text seconds = db_int(api->config->host_lost_after_s);
    return api_list(request, &host_list, (const char *const[]){seconds.text, request->token.scope},
                    answer, err);
}

static bool show(const struct api_context *api, const struct http_request *request, char **body,
                 struct error *err)
{
    return listing_host(request->db, request->token.scope, request->parameters[0],
                        api->config->host_lost_after_s, body, err);
}

bool api_hosts_show(void *context, struct http_request *request, bool is_last_call,
                    struct http_answer *answer, struct error *err)
{
    (void)is_last_call;
    return http_query_only(request, no_parameters, err) &&
           show(context, request, &answer->body, err);
}

bool api_hosts_revoke(void *context, struct http_request *request, bool is_last_call,
                      struct http_answer *answer, struct error *err)
{
    (void)is_last_call;
    char id[UUID_SIZE];
    auto_free char *before = NULL;
    if (!http_query_only(request, no_parameters, err) ||
        !listing_find_host(request->db, request->token.scope, request->parameters[0], id, err) ||
        !show(context, request, &before, err) || !certificate_revoke_host(request->db, id, err) ||
        !show(context, request, &answer->body, err))
        return false;
    log_info("token %s locked host %s out", request->token.name, id);
    http_audit(request, "host", id, before, answer->body);
    return true;
}
