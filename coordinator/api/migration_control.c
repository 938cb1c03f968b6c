/* What operators do to a migration that is not over: change, pause, resume, switch over. */
#include "coordinator/api/api.h"
#include "coordinator/api/handlers.h"

#include "base/cleanup.h"
#include "base/json_table.h"
#include "base/log.h"
#include "coordinator/scheduler/control.h"
#include "coordinator/security/config.h"

#include <stdio.h>

enum { RETRY_AFTER_S = 1 }; /* progress is reported about once a second */

struct change_request {
    char *switchover; /* JSON */
    struct policy_change change;
};
#define CHANGE(word, kind, member, present, least, most)                                           \
    {                                                                                              \
        JSON_ROW(word, change_request, change.policy.member, kind, false),                         \
            .min = least, .max = most,                                                             \
            .presence_offset = offsetof(struct change_request, change.present)                     \
    }
static const struct json_field change_fields[] = {
    CHANGE("priority", JSON_FIELD_INT, priority, has_priority, POLICY_PRIORITY_LEAST,
           POLICY_PRIORITY_MOST),
    CHANGE("bandwidth_bytes_per_s", JSON_FIELD_UINT64, bandwidth_bytes_per_s, has_bandwidth, 0,
           INT64_MAX),
    CHANGE("retries", JSON_FIELD_INT, retries, has_retries, 0, POLICY_RETRIES_MOST),
    CHANGE("stall_timeout_s", JSON_FIELD_INT, stall_timeout_s, has_stall_timeout,
           POLICY_STALL_TIMEOUT_LEAST_S, POLICY_STALL_TIMEOUT_MOST_S),
    {JSON_ROW("network", change_request, change.policy.network, JSON_FIELD_CHARS, false),
     .size = JSON_MEMBER_SIZE(change_request, change.policy.network),
     .presence_offset = offsetof(struct change_request, change.has_network)},
    {JSON_ROW("switchover", change_request, switchover, JSON_FIELD_ANY, false),
     .max = SWITCHOVER_TEXT,
     .presence_offset = offsetof(struct change_request, change.has_switchover)},
    {0},
};

/* The path's {id} is a migration's, and nothing stands in the query. */
static bool check_id(struct http_request *request, struct error *err)
{
    static const char *const allowed[] = {NULL};
    return http_query_only(request, allowed, err) &&
           (uuid_is_valid(request->parameters[0]) ||
            error_set(err, ERROR_NOT_FOUND,
                      "migration \"%.80s\" does not exist: GET /v1/migrations lists them",
                      request->parameters[0]));
}

/* The migration as it was before, for the audit log. */
static bool look(const struct api_context *api, struct http_request *request, char **before,
                 struct error *err)
{
    return check_id(request, err) &&
           migration_store_show(request->db, request->parameters[0], api->config->host_lost_after_s,
                                before, err);
}

static bool answer_changed(const struct api_context *api, struct http_request *request,
                           const char *before, struct http_answer *answer, struct error *err)
{
    const char *id = request->parameters[0];
    if (!migration_store_show(request->db, id, api->config->host_lost_after_s, &answer->body, err))
        return false;
    http_audit(request, "migration", id, before, answer->body);
    return true;
}

void api_migration_accepted(const char *id, struct http_answer *answer)
{
    answer->status = 202;
    answer->retry_after_s = RETRY_AFTER_S;
    snprintf(answer->location, sizeof answer->location, "/v1/migrations/%s", id);
}

static bool read_change(struct http_request *request, struct policy_change *out, struct error *err)
{
    struct change_request wanted = {0};
    if (!http_body(request, change_fields, &wanted, err))
        return false;
    struct policy_change *change = &wanted.change;
    bool is_read =
        !change->has_switchover ||
        api_switchover(request, "/switchover", wanted.switchover, &change->policy.switchover, err);
    json_release(change_fields, &wanted);
    bool has_any = change->has_priority || change->has_bandwidth || change->has_retries ||
                   change->has_stall_timeout || change->has_switchover || change->has_network;
    if (is_read && !has_any)
        return field_wrong(&request->errors, "", "is empty", "at least one member to change", err);
    *out = *change;
    return is_read;
}

bool api_migrations_change(void *context, struct http_request *request, bool is_last_call,
                           struct http_answer *answer, struct error *err)
{
    const struct api_context *api = context;
    (void)is_last_call;
    struct policy_change change;
    auto_free char *before = NULL;
    if (!read_change(request, &change, err) || !look(api, request, &before, err) ||
        !control_change(request->db, request->parameters[0], &change, err))
        return false;
    log_info("migration %s: changed by %s", request->parameters[0], request->token.name);
    return answer_changed(api, request, before, answer, err);
}

static bool pause_or_resume(void *context, struct http_request *request, bool is_paused,
                            struct http_answer *answer, struct error *err)
{
    auto_free char *before = NULL;
    if (!look(context, request, &before, err) ||
        !control_pause(request->db, request->parameters[0], is_paused, err))
        return false;
    log_info("migration %s: %s by %s", request->parameters[0], is_paused ? "paused" : "resumed",
             request->token.name);
    api_migration_accepted(request->parameters[0], answer);
    return answer_changed(context, request, before, answer, err);
}

bool api_migrations_pause(void *context, struct http_request *request, bool is_last_call,
                          struct http_answer *answer, struct error *err)
{
    (void)is_last_call;
    return pause_or_resume(context, request, true, answer, err);
}

bool api_migrations_resume(void *context, struct http_request *request, bool is_last_call,
                           struct http_answer *answer, struct error *err)
{
    (void)is_last_call;
    return pause_or_resume(context, request, false, answer, err);
}

bool api_migrations_switchover(void *context, struct http_request *request, bool is_last_call,
                               struct http_answer *answer, struct error *err)
{
    (void)is_last_call;
    auto_free char *before = NULL;
    if (!look(context, request, &before, err) ||
        !control_switch_over(request->db, request->parameters[0], err))
        return false;
    log_info("migration %s: told to switch over by %s", request->parameters[0],
             request->token.name);
    api_migration_accepted(request->parameters[0], answer);
    return answer_changed(context, request, before, answer, err);
}
