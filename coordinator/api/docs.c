/* Serves the contract as a page to read. */
#include "coordinator/api/api.h"
#include "coordinator/api/docs_page.h"
#include "coordinator/api/handlers.h"

#include "base/memory.h"

bool api_docs(void *context, struct http_request *request, bool is_last_call,
              struct http_answer *answer, struct error *err)
{
    static const char *const allowed[] = {NULL};
    (void)context;
    (void)is_last_call;
    if (!http_query_only(request, allowed, err))
        return false;
    answer->body = memory_copy_text(docs_page);
    answer->content_type = "text/html; charset=utf-8";
    answer->policy = docs_policy;
    return true;
}
