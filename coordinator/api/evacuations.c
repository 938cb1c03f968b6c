/* Evacuations: plan and begin (or only plan, with dry_run), list, show. */
#include "coordinator/api/api.h"
#include "coordinator/api/handlers.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "coordinator/scheduler/evacuation.h"
#include "coordinator/security/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RETRY_AFTER_S = 2 };

void api_evacuation_accepted(const char *id, struct http_answer *answer)
{
    answer->status = 202;
    answer->retry_after_s = RETRY_AFTER_S;
    snprintf(answer->location, sizeof answer->location, "/v1/evacuations/%s", id);
}

/* `vms` of a plan as refusals: who, and every reason. */
static json_t *refusals_json(const struct evacuation_planning *planning)
{
    json_t *list = json_array();
    for (size_t i = 0; i < planning->count; i++) {
        const struct evacuation_wish *wish = &planning->wishes[i];
        if (!wish->is_skipped)
            json_array_append_new(
                list, json_pack("{s:s, s:O?}", "vm", wish->vm, "reasons", wish->reasons));
    }
    return list;
}

void api_evacuation_blocked(const struct http_request *request,
                            const struct evacuation_planning *planning, struct http_answer *answer)
{
    struct error why;
    error_set(&why, ERROR_CONFLICT,
              "none of the VMs can move; \"refused\" has every reason of each");
    auto_free char *text = http_problem(&why, NULL, request->id);
    json_t *problem = json_loads(text, 0, NULL);
    json_object_set_new(problem, "refused", refusals_json(planning));
    http_answer_json(answer, http_status_of(why.code), problem);
    answer->content_type = "application/problem+json";
}

static bool create(struct http_request *request, const struct evacuation_maker *maker,
                   const struct evacuation_request *wanted, struct http_answer *answer,
                   struct error *err)
{
    char id[UUID_SIZE];
    struct evacuation_planning planning = {0};
    bool is_done = evacuation_create(request->db, maker, wanted, &planning, id, err);
    if (is_done && !id[0])
        api_evacuation_blocked(request, &planning, answer);
    if (is_done && id[0]) {
        is_done = evacuation_store_show(request->db, maker->scope, id, false, &answer->body, err);
        if (is_done) {
            log_info("evacuation %s: made by %s, %zu of %zu VMs planned", id, request->token.name,
                     planning.planned, planning.count);
            http_audit(request, "evacuation", id, NULL, answer->body);
            api_evacuation_accepted(id, answer);
        }
    }
    evacuation_planning_done(&planning);
    return is_done;
}

/* Made on a connection of its own and rolled back there, so that the answer is what would be shown
 * of it. What cannot be made is shown too: its VMs are refused. */
static bool look(const struct api_context *api, const struct evacuation_maker *maker,
                 const struct evacuation_request *wanted, struct http_answer *answer,
                 struct error *err)
{
    auto_db struct db *db = NULL;
    char id[UUID_SIZE];
    struct evacuation_planning planning = {0};
    if (!api_take(api, &db, err) || !db_begin(db, err))
        return false;
    bool is_done = evacuation_create(db, maker, wanted, &planning, id, err) &&
                   (id[0] || evacuation_insert(db, &planning, id, err)) &&
                   evacuation_store_show(db, maker->scope, id, true, &answer->body, err);
    db_rollback(db);
    evacuation_planning_done(&planning);
    return is_done;
}

static bool read_dry_run(struct http_request *request, bool *is_dry_run, struct error *err)
{
    static const char *const allowed[] = {"dry_run", NULL};
    if (!http_query_only(request, allowed, err))
        return false;
    const char *value = http_query(request, "dry_run");
    *is_dry_run = value && strcmp(value, "true") == 0;
    return !value || *is_dry_run || strcmp(value, "false") == 0 ||
           http_wrong_parameter(request, "dry_run", "true or false", err);
}

bool api_evacuations_create(void *context, struct http_request *request, bool is_last_call,
                            struct http_answer *answer, struct error *err)
{
    const struct api_context *api = context;
    (void)is_last_call;
    bool is_dry_run = false;
    struct evacuation_request wanted = {0};
    const struct evacuation_maker maker = {.scope = request->token.scope,
                                           .created_by = request->token.name,
                                           .host_lost_after_s = api->config->host_lost_after_s};
    if (!read_dry_run(request, &is_dry_run, err) ||
        !api_evacuation_read(request, is_dry_run, &wanted, err))
        return false;
    bool is_done = is_dry_run ? look(api, &maker, &wanted, answer, err)
                              : create(request, &maker, &wanted, answer, err);
    json_release(evacuation_request_fields, &wanted);
    return is_done;
}

bool api_evacuations_list(void *context, struct http_request *request, bool is_last_call,
                          struct http_answer *answer, struct error *err)
{
    (void)context;
    (void)is_last_call;
    return api_list(request, &evacuation_list, (const char *const[]){request->token.scope}, answer,
                    err);
}

bool api_evacuation_look(struct http_request *request, char **body, struct error *err)
{
    static const char *const allowed[] = {NULL};
    const char *id = request->parameters[0];
    if (!http_query_only(request, allowed, err))
        return false;
    if (!uuid_is_valid(id))
        return error_set(err, ERROR_NOT_FOUND,
                         "evacuation %.80s does not exist: GET /v1/evacuations lists them", id);
    return evacuation_store_show(request->db, request->token.scope, id, false, body, err);
}

bool api_evacuations_show(void *context, struct http_request *request, bool is_last_call,
                          struct http_answer *answer, struct error *err)
{
    (void)context;
    (void)is_last_call;
    return api_evacuation_look(request, &answer->body, err);
}

bool api_evacuations_current(void *context, struct http_request *request, bool is_last_call,
                             struct http_answer *answer, struct error *err)
{
    (void)context;
    (void)is_last_call;
    auto_free char *before = NULL;
    auto_evacuation_row struct evacuation_row row = {0};
    return api_evacuation_look(request, &before, err) &&
           evacuation_store_lock(request->db, request->parameters[0], &row, err) &&
           evacuation_store_show(request->db, request->token.scope, row.id, false, &answer->body,
                                 err);
}
