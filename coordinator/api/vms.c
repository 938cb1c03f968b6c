/* VMs: list (all, or by name), show. */
#include "coordinator/api/api.h"
#include "coordinator/api/handlers.h"
#include "coordinator/store/listing.h"

bool api_vms_list(void *context, struct http_request *request, bool is_last_call,
                  struct http_answer *answer, struct error *err)
{
    (void)context;
    (void)is_last_call;
    return api_list(request, &vm_list, (const char *const[]){request->token.scope}, answer, err);
}

bool api_vms_show(void *context, struct http_request *request, bool is_last_call,
                  struct http_answer *answer, struct error *err)
{
    static const char *const allowed[] = {NULL};
    (void)context;
    (void)is_last_call;
    return http_query_only(request, allowed, err) &&
           listing_vm(request->db, request->token.scope, request->parameters[0], &answer->body,
                      err);
}
