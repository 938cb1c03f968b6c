/* Problem documents, RFC 9457. */
#include "coordinator/http/server.h"

#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>

enum { RETRY_AFTER_S = 2 };

static const struct {
    enum error_code code;
    int status;
    const char *title;
} statuses[] = {
    {ERROR_INTERNAL, 500, "Internal error"}, {ERROR_INVALID, 400, "Invalid request"},
    {ERROR_NOT_FOUND, 404, "Not found"},     {ERROR_CONFLICT, 409, "Conflict"},
    {ERROR_REFUSED, 403, "Refused"},         {ERROR_UNREACHABLE, 503, "Not available"},
    {ERROR_TIMEOUT, 504, "Too late"},        {ERROR_NO_SPACE, 507, "No space"},
    {ERROR_CANCELLED, 409, "Cancelled"},     {ERROR_UNSUPPORTED, 422, "Not supported"},
    {ERROR_MIRROR_LOST, 409, "Mirror lost"}, {ERROR_GUEST_ENDED, 409, "Guest ended"},
};

static size_t status_index(enum error_code code)
{
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++) {
        if (statuses[i].code == code)
            return i;
    }
    return 0;
}

int http_status_of(enum error_code code)
{
    return statuses[status_index(code)].status;
}

static json_t *errors_json(const struct field_errors *errors)
{
    static const char *const places[] = {
        [FIELD_BODY] = "pointer", [FIELD_QUERY] = "parameter", [FIELD_HEADER] = "header"};
    json_t *list = json_array();
    for (size_t i = 0; i < errors->count; i++) {
        const struct field_error *one = &errors->items[i];
        json_array_append_new(list, json_pack("{s:s, s:s, s:s}", places[one->place], one->name,
                                              "detail", one->detail, "expected", one->expected));
    }
    return list;
}

static char *problem_text(const char *type, const char *title, int status, const char *detail,
                          const struct field_errors *errors, const char *request_id)
{
    json_t *text = json_string(detail);
    json_t *problem = json_pack(
        "{s:s+, s:s, s:i, s:o, s:s}", "type", "urn:crosspool:problem:", type, "title", title,
        "status", status, "detail", text ? text : json_string("not UTF-8"), "request", request_id);
    if (errors && errors->count > 0)
        json_object_set_new(problem, "errors", errors_json(errors));
    char *encoded = json_dumps(problem, JSON_COMPACT | JSON_PRESERVE_ORDER);
    json_decref(problem);
    if (!encoded)
        abort(); /* only memory can be missing */
    return encoded;
}

char *http_problem(const struct error *err, const struct field_errors *errors,
                   const char *request_id)
{
    size_t i = status_index(err->code);
    return problem_text(error_code_name(err->code), statuses[i].title, statuses[i].status,
                        err->text, err->code == ERROR_INVALID ? errors : NULL, request_id);
}

static void set_problem(struct http_exchange *exchange, int status, char *body)
{
    free(exchange->answer.body);
    exchange->answer = (struct http_answer){
        .status = status, .body = body, .content_type = "application/problem+json"};
    if (status == 503 || status == 504)
        exchange->answer.retry_after_s = RETRY_AFTER_S;
}

void http_refuse(struct http_exchange *exchange, int status, const char *type, const char *detail)
{
    set_problem(exchange, status, problem_text(type, detail, status, detail, NULL, exchange->id));
}

void http_refuse_error(struct http_exchange *exchange, const struct error *err)
{
    if (err->code == ERROR_INTERNAL) {
        /* what broke inside is for the log; the caller gets the id to ask for it */
        log_error("%s %s: %s", exchange->method, exchange->path, err->text);
        http_refuse(exchange, 500, "internal", "Internal error; the log names it by the request");
        return;
    }
    set_problem(exchange, http_status_of(err->code),
                http_problem(err, &exchange->request.errors, exchange->id));
}
