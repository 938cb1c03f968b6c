/* Query parameters, headers and JSON answers, for handlers. */
#include "coordinator/http/server.h"

#include <stdlib.h>
#include <string.h>

const char *http_query(const struct http_request *request, const char *name)
{
    const struct http_exchange *exchange = request->connection;
    return MHD_lookup_connection_value(exchange->connection, MHD_GET_ARGUMENT_KIND, name);
}

const char *http_request_header(const struct http_request *request, const char *name)
{
    return http_header(request->connection, name);
}

struct query_check {
    const char *const *allowed;
    struct error *err;
    unsigned seen; /* bit i: allowed[i] was there */
    bool is_wrong;
};

static enum MHD_Result check_one(void *context, enum MHD_ValueKind kind, const char *name,
                                 const char *value)
{
    (void)kind;
    struct query_check *check = context;
    for (unsigned i = 0; check->allowed[i]; i++) {
        if (strcmp(name, check->allowed[i]) != 0)
            continue;
        bool is_good = value && i < 32 && !(check->seen & (1U << i));
        check->seen |= 1U << (i & 31);
        if (is_good)
            return MHD_YES;
        error_set(check->err, ERROR_INVALID, "query parameter %.64s: expected once, with a value",
                  name);
        check->is_wrong = true;
        return MHD_NO;
    }
    error_set(check->err, ERROR_INVALID, "query parameter %.64s is not known here", name);
    check->is_wrong = true;
    return MHD_NO;
}

bool http_query_only(const struct http_request *request, const char *const allowed[],
                     struct error *err)
{
    const struct http_exchange *exchange = request->connection;
    struct query_check check = {.allowed = allowed, .err = err};
    (void)MHD_get_connection_values(exchange->connection, MHD_GET_ARGUMENT_KIND, check_one, &check);
    return !check.is_wrong;
}

void http_audit(struct http_request *request, const char *kind, const char *id, const char *before,
                const char *after)
{
    audit_change_set(&request->change, kind, id, before, after);
}

void http_answer_json(struct http_answer *answer, int status, json_t *value)
{
    free(answer->body);
    answer->status = status;
    answer->body = json_dumps(value, JSON_COMPACT | JSON_PRESERVE_ORDER);
    json_decref(value);
    if (!answer->body)
        abort(); /* only memory can be missing */
}
