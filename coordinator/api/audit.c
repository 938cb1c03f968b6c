/* The audit log: list. */
#include "coordinator/api/api.h"
#include "coordinator/api/handlers.h"
#include "coordinator/store/audit_view.h"

bool api_audit_list(void *context, struct http_request *request, bool is_last_call,
                    struct http_answer *answer, struct error *err)
{
    (void)context;
    (void)is_last_call;
    return api_list(request, &audit_list, NULL, answer, err);
}
