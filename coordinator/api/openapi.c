/* Serves the contract. */
#include "coordinator/api/api.h"
#include "coordinator/api/handlers.h"

#include "base/file.h"
#include "coordinator/security/config.h"

enum { OPENAPI_SIZE = 4 << 20 };

bool api_openapi(void *context, struct http_request *request, bool is_last_call,
                 struct http_answer *answer, struct error *err)
{
    const struct api_context *api = context;
    static const char *const allowed[] = {NULL};
    (void)is_last_call;
    if (!http_query_only(request, allowed, err))
        return false;
    if (!file_read(api->config->openapi, OPENAPI_SIZE, &answer->body, NULL, err)) {
        err->code = ERROR_INTERNAL; /* the file is part of the installation */
        return false;
    }
    answer->content_type = "application/yaml";
    return true;
}
