/* API tokens: list, show, create (the only time that the text is shown), revoke. */
#include "coordinator/api/api.h"
#include "coordinator/api/handlers.h"

#include "base/cleanup.h"
#include "base/json_table.h"
#include "base/log.h"
#include "coordinator/security/scope.h"
#include "coordinator/store/token_view.h"

#include <stdio.h>
#include <string.h>

struct token_request {
    char name[129];
    enum token_role role;
    bool has_pools;
    struct json_array pools; /* char *: ids or names; without the member, all pools */
    char expires_at[41];
};
static const struct json_field token_request_fields[] = {
    JSON_CHARS("name", token_request, name, 1, true),
    JSON_ENUM("role", token_request, role, token_role_names, true),
    {JSON_ROW("pools", token_request, pools, JSON_FIELD_ARRAY, false), .max = SCOPE_POOLS,
     .presence_offset = offsetof(struct token_request, has_pools)},
    JSON_CHARS("expires_at", token_request, expires_at, 1, false),
    {0},
};
static const char *const no_parameters[] = {NULL};

bool api_tokens_list(void *context, struct http_request *request, bool is_last_call,
                     struct http_answer *answer, struct error *err)
{
    (void)context;
    (void)is_last_call;
    return api_list(request, &token_list, NULL, answer, err);
}

static bool find(struct http_request *request, char id[UUID_SIZE], struct error *err)
{
    return http_query_only(request, no_parameters, err) &&
           token_find_id(request->db, request->parameters[0], id, err);
}

bool api_tokens_show(void *context, struct http_request *request, bool is_last_call,
                     struct http_answer *answer, struct error *err)
{
    (void)context;
    (void)is_last_call;
    char id[UUID_SIZE];
    return find(request, id, err) && token_view_show(request->db, id, &answer->body, err);
}

/* An empty list of pools is no list of all: scope_make refuses it. */
static bool create(struct http_request *request, const struct token_request *wanted,
                   char id[UUID_SIZE], char text[TOKEN_TEXT_SIZE], struct error *err)
{
    auto_free char *scope = NULL;
    struct token_new made = {.name = wanted->name,
                             .role = wanted->role,
                             .expires_at = wanted->expires_at[0] ? wanted->expires_at : NULL};
    if (!api_check_name(request, "token", wanted->name, err))
        return false;
    if (made.expires_at && !api_is_time(made.expires_at))
        return field_wrong(&request->errors, "/expires_at", "is no such time", API_TIME_EXPECTED,
                           err);
    if (wanted->has_pools && !scope_make(request->db, (const char *const *)wanted->pools.items,
                                         wanted->pools.count, &scope, err))
        return err->code == ERROR_INVALID
                   ? http_wrong_member(request, "/pools", "1 to 32 pools", err)
                   : error_prefix(err, "/pools");
    made.scope = scope;
    if (token_create(request->db, &made, id, text, err))
        return true;
    if (err->code == ERROR_INVALID) /* the only thing that is not checked before */
        field_errors_add(&request->errors, FIELD_BODY, "/expires_at", "is over or too far away",
                         "a time in the next 100 years");
    return false;
}

/* The token as it will always be shown, and its text this once. */
static void answer_created(const char *id, const char *shown, const char *text,
                           struct http_answer *answer)
{
    json_t *body = json_loads(shown, 0, NULL);
    json_object_set_new(body, "token", json_string(text));
    http_answer_json(answer, 201, body);
    snprintf(answer->location, sizeof answer->location, "/v1/tokens/%s", id);
}

bool api_tokens_create(void *context, struct http_request *request, bool is_last_call,
                       struct http_answer *answer, struct error *err)
{
    (void)context;
    (void)is_last_call;
    struct token_request wanted = {0};
    char id[UUID_SIZE], text[TOKEN_TEXT_SIZE];
    auto_free char *shown = NULL;
    if (!http_query_only(request, no_parameters, err) ||
        !http_body(request, token_request_fields, &wanted, err))
        return false;
    bool is_made =
        create(request, &wanted, id, text, err) && token_view_show(request->db, id, &shown, err);
    json_release(token_request_fields, &wanted);
    if (!is_made)
        return false;
    http_audit(request, "token", id, NULL, shown);
    answer_created(id, shown, text, answer);
    explicit_bzero(text, sizeof text);
    return true;
}

bool api_tokens_revoke(void *context, struct http_request *request, bool is_last_call,
                       struct http_answer *answer, struct error *err)
{
    (void)context;
    (void)is_last_call;
    char id[UUID_SIZE];
    auto_free char *before = NULL;
    auto_free char *after = NULL;
    if (!find(request, id, err) || !token_view_show(request->db, id, &before, err) ||
        !token_revoke(request->db, id, err) || !token_view_show(request->db, id, &after, err))
        return false;
    log_info("token %s revoked token %s", request->token.name, id);
    http_audit(request, "token", id, before, after);
    answer->status = 204;
    return true;
}
