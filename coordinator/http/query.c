/* Query parameters, headers and JSON answers, for handlers. */
#include "coordinator/http/server.h"

#include "base/utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DETAIL_SIZE = 96, ALLOWED_SIZE = 200 };

const char *http_query(const struct http_request *request, const char *name)
{
    const struct http_exchange *exchange = request->connection;
    return MHD_lookup_connection_value(exchange->connection, MHD_GET_ARGUMENT_KIND, name);
}

const char *http_request_header(const struct http_request *request, const char *name)
{
    return http_header(request->connection, name);
}

bool http_body(struct http_request *request, const struct json_field *fields, void *out,
               struct error *err)
{
    return json_decode_text_all(request->body, request->body_size, fields, out, &request->errors,
                                err);
}

bool http_wrong_member(struct http_request *request, const char *pointer, const char *expected,
                       struct error *err)
{
    field_errors_add(&request->errors, FIELD_BODY, pointer, err->text, expected);
    return pointer[0] ? error_prefix(err, "%s", pointer) : false;
}

static bool wrong_text(struct http_request *request, enum field_place place, const char *name,
                       const char *detail, const char *expected, struct error *err)
{
    field_errors_add(&request->errors, place, name, detail, expected);
    return error_set(err, ERROR_INVALID, "%s %.64s: expected %s",
                     place == FIELD_QUERY ? "query parameter" : "header", name, expected);
}

bool http_wrong_parameter(struct http_request *request, const char *name, const char *expected,
                          struct error *err)
{
    char detail[DETAIL_SIZE];
    const char *value = http_query(request, name);
    snprintf(detail, sizeof detail, "is \"%.80s\"", value ? value : "");
    return wrong_text(request, FIELD_QUERY, name, detail, expected, err);
}

bool http_wrong_header(struct http_request *request, const char *name, const char *expected,
                       struct error *err)
{
    return wrong_text(request, FIELD_HEADER, name, "is something else", expected, err);
}

struct query_check {
    struct http_request *request;
    const char *const *allowed;
    struct error *err;
    unsigned seen; /* bit i: allowed[i] was there */
    bool is_wrong;
};

static void allowed_text(const char *const allowed[], char out[ALLOWED_SIZE])
{
    size_t used =
        (size_t)snprintf(out, ALLOWED_SIZE, "%s", allowed[0] ? "one of" : "no parameters");
    for (int i = 0; allowed[i] && used < ALLOWED_SIZE; i++)
        used +=
            (size_t)snprintf(out + used, ALLOWED_SIZE - used, "%s %s", i ? "," : "", allowed[i]);
}

/* The first of what is wrong is the error's text. */
static void wrong_parameter(struct query_check *check, const char *name, const char *said,
                            const char *expected)
{
    field_errors_add(&check->request->errors, FIELD_QUERY, name, said, expected);
    if (!check->is_wrong)
        error_write(check->err, ERROR_INVALID, "query parameter %.64s %s: expected %s", name, said,
                    expected);
    check->is_wrong = true;
}

static int index_of(const char *const words[], const char *word)
{
    for (int i = 0; words[i]; i++) {
        if (strcmp(words[i], word) == 0)
            return i;
    }
    return -1;
}

static enum MHD_Result check_one(void *context, enum MHD_ValueKind kind, const char *name,
                                 const char *value)
{
    (void)kind;
    struct query_check *check = context;
    int i = index_of(check->allowed, name);
    if (i < 0) {
        char expected[ALLOWED_SIZE];
        allowed_text(check->allowed, expected);
        wrong_parameter(check, name, "is not known here", expected);
    } else if (check->seen & (1U << i)) {
        wrong_parameter(check, name, "is there twice", "it once");
    } else if (!value || !value[0]) {
        wrong_parameter(check, name, "is empty", "a value");
    } else if (!utf8_is_valid(value)) {
        wrong_parameter(check, name, "is not UTF-8", "text in UTF-8");
    }
    check->seen |= i >= 0 ? 1U << i : 0;
    return MHD_YES;
}

bool http_query_only(struct http_request *request, const char *const allowed[], struct error *err)
{
    const struct http_exchange *exchange = request->connection;
    struct query_check check = {.request = request, .allowed = allowed, .err = err};
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
