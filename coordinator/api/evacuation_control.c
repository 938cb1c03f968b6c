/* What operators do to an evacuation: pause, resume, cancel, try a VM again, bring VMs back. */
#include "coordinator/api/api.h"
#include "coordinator/api/handlers.h"

#include "base/cleanup.h"
#include "base/json_table.h"
#include "base/log.h"
#include "coordinator/scheduler/evacuation.h"
#include "coordinator/security/config.h"

static bool answer_changed(struct http_request *request, const char *before, const char *what,
                           struct http_answer *answer, struct error *err)
{
    const char *id = request->parameters[0];
    if (!evacuation_store_show(request->db, request->token.scope, id, false, &answer->body, err))
        return false;
    log_info("evacuation %s: %s by %s", id, what, request->token.name);
    http_audit(request, "evacuation", id, before, answer->body);
    api_evacuation_accepted(id, answer);
    return true;
}

bool api_evacuations_pause(void *context, struct http_request *request, bool is_last_call,
                           struct http_answer *answer, struct error *err)
{
    (void)context;
    (void)is_last_call;
    auto_free char *before = NULL;
    return api_evacuation_look(request, &before, err) &&
           evacuation_pause(request->db, request->parameters[0], true, err) &&
           answer_changed(request, before, "paused", answer, err);
}

bool api_evacuations_resume(void *context, struct http_request *request, bool is_last_call,
                            struct http_answer *answer, struct error *err)
{
    (void)context;
    (void)is_last_call;
    auto_free char *before = NULL;
    return api_evacuation_look(request, &before, err) &&
           evacuation_pause(request->db, request->parameters[0], false, err) &&
           answer_changed(request, before, "resumed", answer, err);
}

bool api_evacuations_cancel(void *context, struct http_request *request, bool is_last_call,
                            struct http_answer *answer, struct error *err)
{
    (void)context;
    (void)is_last_call;
    auto_free char *before = NULL;
    return api_evacuation_look(request, &before, err) &&
           evacuation_cancel(request->db, request->parameters[0], err) &&
           answer_changed(request, before, "cancelled", answer, err);
}

bool api_evacuations_retry(void *context, struct http_request *request, bool is_last_call,
                           struct http_answer *answer, struct error *err)
{
    (void)context;
    (void)is_last_call;
    auto_free char *before = NULL;
    return api_evacuation_look(request, &before, err) &&
           evacuation_retry(request->db, request->parameters[0], request->parameters[1], err) &&
           answer_changed(request, before, "told to try a VM again", answer, err);
}

/* ---- return ---- */

struct return_request {
    struct json_array vms; /* char *; none = all */
};
static const struct json_field return_fields[] = {
    JSON_TEXTS("vms", return_request, vms, LIMIT_EVACUATION_VMS, false),
    {0},
};

static bool answer_returning(struct http_request *request,
                             const struct evacuation_planning *planning, const char *id,
                             struct http_answer *answer, struct error *err)
{
    if (!id[0]) {
        api_evacuation_blocked(request, planning, answer);
        return true;
    }
    if (!evacuation_store_show(request->db, request->token.scope, id, false, &answer->body, err))
        return false;
    log_info("evacuation %s: brings back %zu VMs of evacuation %s, asked for by %s", id,
             planning->planned, request->parameters[0], request->token.name);
    http_audit(request, "evacuation", id, NULL, answer->body);
    api_evacuation_accepted(id, answer);
    return true;
}

bool api_evacuations_return(void *context, struct http_request *request, bool is_last_call,
                            struct http_answer *answer, struct error *err)
{
    const struct api_context *api = context;
    (void)is_last_call;
    auto_free char *before = NULL;
    char id[UUID_SIZE];
    struct return_request wanted = {0};
    struct evacuation_planning planning = {0};
    const struct evacuation_maker maker = {.scope = request->token.scope,
                                           .created_by = request->token.name,
                                           .host_lost_after_s = api->config->host_lost_after_s};
    if (!http_body(request, return_fields, &wanted, err))
        return false;
    bool is_done = api_evacuation_look(request, &before, err) &&
                   evacuation_return(request->db, &maker, request->parameters[0], &wanted.vms,
                                     &planning, id, err) &&
                   answer_returning(request, &planning, id, answer, err);
    json_release(return_fields, &wanted);
    evacuation_planning_done(&planning);
    return is_done;
}
