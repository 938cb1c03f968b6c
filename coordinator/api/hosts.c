/* Hosts: list, show. */
#include "coordinator/api/api.h"
#include "coordinator/api/handlers.h"
#include "coordinator/security/config.h"
#include "coordinator/store/listing.h"

bool api_hosts_list(void *context, struct http_request *request, bool is_last_call,
                    struct http_answer *answer, struct error *err)
{
    const struct api_context *api = context;
    (void)is_last_call;
    struct page page;
    return api_page(request, NULL, &page, err) &&
           listing_hosts(request->db, &page, api->config->host_lost_after_s, &answer->body, err);
}

bool api_hosts_show(void *context, struct http_request *request, bool is_last_call,
                    struct http_answer *answer, struct error *err)
{
    static const char *const allowed[] = {NULL};
    const struct api_context *api = context;
    (void)is_last_call;
    return http_query_only(request, allowed, err) &&
           listing_host(request->db, request->parameters[0], api->config->host_lost_after_s,
                        &answer->body, err);
}
