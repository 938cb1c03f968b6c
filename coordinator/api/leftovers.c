/* Leftovers: objects in the ledger whose migration has ended or is unknown. */
#include "coordinator/api/api.h"
#include "coordinator/api/handlers.h"
#include "coordinator/store/ledger.h"
#include "coordinator/store/page.h"

bool api_leftovers_list(void *context, struct http_request *request, bool is_last_call,
                        struct http_answer *answer, struct error *err)
{
    (void)context;
    (void)is_last_call;
    return api_list(request, &leftover_list, (const char *const[]){request->token.scope}, answer,
                    err);
}
