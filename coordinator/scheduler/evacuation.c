/* Making and controlling evacuations; see evacuation.h. */
#include "coordinator/scheduler/evacuation.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "base/memory.h"
#include "coordinator/scheduler/transition.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool has_refused(const struct evacuation_planning *planning)
{
    for (size_t i = 0; i < planning->count; i++) {
        if (!planning->wishes[i].is_planned && !planning->wishes[i].is_skipped)
            return true;
    }
    return false;
}

/* What is written must be read again, by every sweep: a request that grew beyond the table's limits
 * while its names were looked up is refused here. */
static bool check_request(const char *text, struct error *err)
{
    struct evacuation_request again = {0};
    if (!json_decode_text(text, strlen(text), evacuation_request_fields, &again, err)) {
        err->code = ERROR_INVALID;
        return error_prefix(err, "with all names looked up");
    }
    json_release(evacuation_request_fields, &again);
    return true;
}

static bool insert(struct db *db, const struct evacuation_planning *planning, const char *return_of,
                   char id[UUID_SIZE], struct error *err)
{
    auto_free char *request = json_encode_text(evacuation_request_fields, planning->request);
    uuid_make(id);
    const struct evacuation_new made = {.id = id,
                                        .request = request,
                                        .plan = planning->plan,
                                        .vms = planning->vms,
                                        .created_by = planning->created_by,
                                        .return_of = return_of,
                                        .keeps_open = planning->request->is_without_maintenance};
    return check_request(request, err) && evacuation_store_check_free(db, planning->vms, err) &&
           evacuation_store_insert(db, &made, err);
}

bool evacuation_insert(struct db *db, const struct evacuation_planning *planning,
                       char id[UUID_SIZE], struct error *err)
{
    return insert(db, planning, NULL, id, err);
}

bool evacuation_create(struct db *db, const struct evacuation_maker *maker,
                       const struct evacuation_request *request, struct evacuation_planning *out,
                       char id[UUID_SIZE], struct error *err)
{
    *out = (struct evacuation_planning){.request = request,
                                        .scope = maker->scope,
                                        .created_by = maker->created_by,
                                        .host_lost_after_s = maker->host_lost_after_s,
                                        .is_checked = true,
                                        .has_deadline = request->deadline[0] != '\0'};
    id[0] = '\0';
    if ((out->has_deadline &&
         !evacuation_store_seconds_to(db, request->deadline, &out->deadline_s, err)) ||
        !evacuation_plan_make(db, out, err))
        return false;
    if (out->planned == 0 && has_refused(out))
        return true;
    return insert(db, out, NULL, id, err);
}

/* ---- return ---- */

static bool is_wanted(const struct json_array *vms, const struct db_rows *rows, int i, bool *found)
{
    bool is_in = vms->count == 0;
    for (size_t k = 0; k < vms->count; k++) {
        const char *word = ((char **)vms->items)[k];
        if (strcmp(word, db_value(rows, i, "vm_id")) == 0 ||
            strcmp(word, db_value(rows, i, "name")) == 0)
            is_in = found[k] = true;
    }
    return is_in;
}

static void add_back(struct evacuation_planning *planning, const struct db_rows *rows, int i)
{
    struct evacuation_wish *wish =
        evacuation_planning_add(planning, db_value(rows, i, "current_vm_id"));
    const char *why_not = db_value(rows, i, "why_not");
    const char *mapping = db_value(rows, i, "mapping");
    snprintf(wish->host, sizeof wish->host, "%s", db_value(rows, i, "source_host_id"));
    wish->is_fixed = true;
    wish->mapping = mapping ? memory_copy_text(mapping) : NULL;
    wish->is_skipped = why_not != NULL;
    if (why_not)
        evacuation_wish_reason(wish, "not-returned", why_not,
                               "move it by itself, if it shall move");
}

static bool wish_back(const struct db_rows *rows, const char *of, const struct json_array *vms,
                      struct evacuation_planning *planning, struct error *err)
{
    auto_free bool *found = memory_array(vms->count, sizeof *found);
    for (int i = 0; i < db_count(rows); i++) {
        if (is_wanted(vms, rows, i, found) && db_value_bool(rows, i, "is_there"))
            add_back(planning, rows, i);
    }
    for (size_t k = 0; k < vms->count; k++) {
        if (!found[k])
            return error_set(err, ERROR_NOT_FOUND,
                             "/vms/%zu: evacuation %s has no VM \"%.80s\": GET "
                             "/v1/evacuations/%s lists them",
                             k, of, ((char **)vms->items)[k], of);
    }
    return true;
}

static void add_host(struct json_array *list, const char *id)
{
    char **items = list->items;
    for (size_t i = 0; i < list->count; i++) {
        if (strcmp(items[i], id) == 0)
            return;
    }
    items = memory_resize(items, list->count + 1, sizeof *items);
    items[list->count++] = memory_copy_text(id);
    list->items = items;
}

/* All that a return says of itself: how patient it is, and where to. */
static void fill_return(const struct evacuation_row *row,
                        const struct evacuation_planning *planning, struct evacuation_request *out)
{
    out->on_failure = ON_FAILURE_CONTINUE;
    out->at_once = row->request.at_once;
    out->switchovers_at_once = row->request.switchovers_at_once;
    out->switchovers_per_host = row->request.switchovers_per_host;
    out->retries = row->request.retries;
    out->patience_s = row->request.patience_s;
    out->may_suspend = row->request.may_suspend;
    out->is_without_helpers = row->request.is_without_helpers;
    out->is_without_maintenance = true;
    for (size_t i = 0; i < planning->count; i++)
        add_host(&out->destination_hosts, planning->wishes[i].host);
}

/* A patient one is made as long as any VM may have room later. */
static bool can_wait(const struct evacuation_planning *planning)
{
    bool is_any = false;
    for (size_t i = 0; i < planning->count; i++)
        is_any = is_any || !(planning->wishes[i].is_skipped || planning->wishes[i].is_blocked);
    return planning->is_patient && is_any;
}

static bool plan_return(struct db *db, const char *of, struct evacuation_planning *out,
                        char id[UUID_SIZE], struct error *err)
{
    if (!evacuation_plan_make(db, out, err))
        return false;
    bool is_hopeless = out->planned == 0 && has_refused(out) && !can_wait(out);
    return is_hopeless || insert(db, out, of, id, err);
}

static bool check_ended(const struct evacuation_maker *maker, const struct evacuation_row *row,
                        struct error *err)
{
    if (row->state >= EVACUATION_SUCCEEDED ||
        (maker->is_rollback && row->state == EVACUATION_ROLLING_BACK))
        return true;
    return error_set(err, ERROR_CONFLICT, "evacuation %s is %s: wait for its end%s", row->id,
                     evacuation_state_names[row->state],
                     row->state == EVACUATION_ROLLING_BACK ? "" : ", or cancel it first");
}

bool evacuation_return(struct db *db, const struct evacuation_maker *maker, const char *of,
                       const struct json_array *vms, struct evacuation_planning *out,
                       char id[UUID_SIZE], struct error *err)
{
    auto_evacuation_row struct evacuation_row row = {0};
    auto_db_rows struct db_rows *rows = NULL;
    struct evacuation_request request = {0};
    *out = (struct evacuation_planning){.request = &request,
                                        .scope = maker->scope,
                                        .created_by = maker->created_by,
                                        .host_lost_after_s = maker->host_lost_after_s,
                                        .is_checked = true,
                                        .is_patient = maker->is_rollback};
    id[0] = '\0';
    if (!evacuation_store_lock(db, of, &row, err) || !check_ended(maker, &row, err) ||
        !evacuation_store_returnable(db, maker->scope, of, &rows, err) ||
        !wish_back(rows, of, vms, out, err))
        return false;
    fill_return(&row, out, &request);
    bool is_done = out->count == 0 || plan_return(db, of, out, id, err);
    json_release(evacuation_request_fields, &request);
    out->request = NULL;
    return is_done;
}

/* ---- control ---- */

struct control_work {
    const char *id, *vm;
    bool is_paused;
};

static bool refuse(const struct evacuation_row *row, const char *what, struct error *err)
{
    return error_set(err, ERROR_CONFLICT, "evacuation %s is %s: %s", row->id,
                     evacuation_state_names[row->state], what);
}

static bool pause_one(struct db *db, void *context, struct error *err)
{
    const struct control_work *work = context;
    auto_evacuation_row struct evacuation_row row = {0};
    if (!evacuation_store_lock(db, work->id, &row, err))
        return false;
    if (row.state != EVACUATION_RUNNING && row.state != EVACUATION_PAUSED)
        return refuse(&row, "it starts no moves that could be paused or resumed", err);
    return evacuation_store_set_state(
               db, row.id, work->is_paused ? EVACUATION_PAUSED : EVACUATION_RUNNING, err) &&
           (work->is_paused || evacuation_store_want_plan(db, row.id, err)) &&
           (row.state != EVACUATION_PAUSED || work->is_paused ||
            evacuation_store_be_patient(db, row.id, err));
}

bool evacuation_pause(struct db *db, const char *id, bool is_paused, struct error *err)
{
    struct control_work work = {.id = id, .is_paused = is_paused};
    return transaction_run(db, pause_one, &work, err);
}

static bool cancel_one(struct db *db, void *context, struct error *err)
{
    const struct control_work *work = context;
    auto_evacuation_row struct evacuation_row row = {0};
    if (!evacuation_store_lock(db, work->id, &row, err))
        return false;
    if (row.state >= EVACUATION_SUCCEEDED)
        return refuse(&row, "there is nothing to cancel any more", err);
    if (row.state == EVACUATION_ROLLING_BACK)
        return refuse(&row, "cancel its return (GET /v1/evacuations), not itself", err);
    return evacuation_store_set_state(db, row.id, EVACUATION_CANCELLING, err) &&
           evacuation_store_drop_waiting(db, row.id, "the evacuation was cancelled", err);
}

bool evacuation_cancel(struct db *db, const char *id, struct error *err)
{
    struct control_work work = {.id = id};
    return transaction_run(db, cancel_one, &work, err);
}

static bool retry_one(struct db *db, void *context, struct error *err)
{
    const struct control_work *work = context;
    auto_evacuation_row struct evacuation_row row = {0};
    if (!evacuation_store_lock(db, work->id, &row, err))
        return false;
    if (row.state == EVACUATION_STOPPING || row.state == EVACUATION_ROLLING_BACK ||
        row.state == EVACUATION_CANCELLING)
        return refuse(&row, "wait for its end, then try the VM again", err);
    return evacuation_store_retry(db, row.id, work->vm, err);
}

bool evacuation_retry(struct db *db, const char *id, const char *vm, struct error *err)
{
    struct control_work work = {.id = id, .vm = vm};
    return transaction_run(db, retry_one, &work, err);
}
