/* SRs: list. */
#include "coordinator/api/api.h"
#include "coordinator/api/handlers.h"
#include "coordinator/store/listing.h"

bool api_srs_list(void *context, struct http_request *request, bool is_last_call,
                  struct http_answer *answer, struct error *err)
{
    (void)context;
    (void)is_last_call;
    return api_list(request, &sr_list, (const char *const[]){request->token.scope}, answer, err);
}
