/* Carries evacuations out; see evacuation.h. Once a sweep, of each evacuation: what its migrations
 * came to, what that means by its policy, a new plan when there is need, and the moves whose turn
 * it is. */
#include "coordinator/scheduler/evacuation.h"

#include "base/cleanup.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "base/memory.h"
#include "coordinator/scheduler/admission.h"
#include "coordinator/scheduler/transition.h"
#include "protocol/spec.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    REPLAN_REST_S = 3,     /* between two plans, when something ended */
    UNPLANNED_REST_S = 15, /* and when the last plan had no room for some */
    REPLAN_EFFORT = 20000,
    STALL_LIMIT_MS = 2000,
};

struct run {
    const char *id;
    int host_lost_after_s;
    bool is_locked, is_running, cancels, gives_turns;
};

/* ---- a new plan for the rest ---- */

static void add_wish(struct evacuation_planning *planning, const struct db_rows *rows, int i)
{
    struct evacuation_wish *wish =
        evacuation_planning_add(planning, db_value(rows, i, "current_vm_id"));
    const char *mapping = db_value(rows, i, "mapping");
    const char *copied = db_value(rows, i, "copied");
    wish->is_moving = db_value_bool(rows, i, "is_moving");
    const char *host = db_value(rows, i, wish->is_moving ? "at_host_id" : "host_id");
    bool is_free = !wish->is_moving && db_value_bool(rows, i, "is_free");
    snprintf(wish->row, sizeof wish->row, "%s", db_value(rows, i, "vm_id"));
    snprintf(wish->host, sizeof wish->host, "%s", host && !is_free ? host : "");
    wish->is_fixed = db_value_bool(rows, i, "is_fixed");
    wish->priority = (int)db_value_int(rows, i, "priority");
    wish->rate_bytes_per_s = (double)db_value_int(rows, i, "rate");
    wish->mapping = mapping ? memory_copy_text(mapping) : NULL;
    wish->copied = copied ? memory_copy_text(copied) : NULL;
}

static bool replan(struct db *db, const struct evacuation_row *row, const struct run *run,
                   struct error *err)
{
    auto_db_rows struct db_rows *rows = NULL;
    struct evacuation_planning planning = {.request = &row->request,
                                           .scope = row->pools,
                                           .created_by = row->created_by,
                                           .host_lost_after_s = run->host_lost_after_s,
                                           .has_deadline = row->has_deadline,
                                           .deadline_s = row->deadline_s,
                                           .effort = REPLAN_EFFORT};
    if (!evacuation_store_vms(db, row->id, &rows, err))
        return false;
    for (int i = 0; i < db_count(rows); i++) {
        if (db_value_bool(rows, i, "is_open"))
            add_wish(&planning, rows, i);
        else
            evacuation_planning_add_object(&planning, db_value(rows, i, "vm_id"),
                                           db_value(rows, i, "current_vm_id"));
    }
    bool is_done = evacuation_plan_make(db, &planning, err) &&
                   evacuation_store_replan(db, row->id, planning.plan, planning.vms, err);
    if (is_done)
        log_info("evacuation %s: planned anew, %zu of %zu VMs", row->id, planning.planned,
                 planning.count);
    evacuation_planning_done(&planning);
    return is_done;
}

/* ---- policy and end ---- */

static bool apply_failure(struct db *db, struct evacuation_row *row, struct error *err)
{
    if (row->request.on_failure == ON_FAILURE_CONTINUE || row->state > EVACUATION_PAUSED)
        return true;
    bool is_rollback = row->request.on_failure == ON_FAILURE_ROLLBACK;
    row->state = is_rollback ? EVACUATION_ROLLING_BACK : EVACUATION_STOPPING;
    log_info("evacuation %s: a VM failed, so it is %s", row->id,
             evacuation_state_names[row->state]);
    return evacuation_store_set_state(db, row->id, row->state, err) &&
           evacuation_store_drop_waiting(db, row->id, "another VM failed", err) &&
           (!is_rollback || evacuation_store_end_maintenance(db, row->id, err));
}

struct return_work {
    const struct evacuation_row *row;
    const struct run *run;
    struct evacuation_planning planning;
    char id[UUID_SIZE];
};

static bool make_return(struct db *db, void *context, struct error *err)
{
    struct return_work *work = context;
    static const struct json_array all = {0};
    const struct evacuation_maker maker = {.scope = work->row->pools,
                                           .created_by = work->row->created_by,
                                           .host_lost_after_s = work->run->host_lost_after_s,
                                           .is_rollback = true};
    evacuation_planning_done(&work->planning); /* of an attempt that was rolled back */
    return evacuation_return(db, &maker, work->row->id, &all, &work->planning, work->id, err);
}

/* The return comes to be or not; what keeps it off passes, or is said when patience ends. */
static bool try_return(struct db *db, const struct evacuation_row *row, const struct run *run,
                       bool is_late, bool *is_over, struct error *err)
{
    struct return_work work = {.row = row, .run = run};
    struct error why = {0};
    bool is_made = transaction_run(db, make_return, &work, &why);
    bool is_done = is_made || why.code == ERROR_CONFLICT;
    if (!is_done)
        *err = why;
    else if (is_made && work.id[0])
        is_done = evacuation_store_set_rollback(db, row->id, work.id, err);
    else
        is_done = evacuation_store_rollback_failed(db, row->id, is_made ? NULL : why.text,
                                                   is_made ? work.planning.vms : NULL, err);
    *is_over = is_done && !work.id[0] && (is_late || (is_made && work.planning.count == 0));
    if (*is_over)
        log_warning("evacuation %s: none of its VMs can be brought back%s%s", row->id,
                    is_made ? "" : ": ", is_made ? "" : why.text);
    evacuation_planning_done(&work.planning);
    return is_done;
}

/* True in *is_over when nothing has to come back any more. */
static bool bring_back(struct db *db, const struct evacuation_row *row, const struct run *run,
                       int away, bool *is_over, struct error *err)
{
    struct evacuation_rollback rollback;
    *is_over = away == 0;
    if (*is_over)
        return true;
    if (!evacuation_store_rollback(db, row->id, row->request.patience_s, &rollback, err))
        return false;
    *is_over = rollback.id[0] && rollback.is_over;
    return rollback.id[0] || !rollback.is_due ||
           try_return(db, row, run, rollback.is_late, is_over, err);
}

static bool end(struct db *db, const struct evacuation_row *row, const struct run *run,
                const struct evacuation_counts *counts, struct error *err)
{
    bool is_over = true;
    if (row->state == EVACUATION_ROLLING_BACK &&
        !bring_back(db, row, run, counts->away, &is_over, err))
        return false;
    if (!is_over)
        return true;
    enum evacuation_state state = evacuation_end_of(row->state, counts->moved, counts->exceptions);
    log_info("evacuation %s: %s; %d moved, %d did not", row->id, evacuation_state_names[state],
             counts->moved, counts->exceptions);
    return evacuation_store_set_state(db, row->id, state, err);
}

static bool is_plan_due(const struct evacuation_row *row, const struct evacuation_counts *counts)
{
    if (row->state != EVACUATION_RUNNING || counts->waiting == 0)
        return false;
    return row->is_plan_due ? row->planned_s >= REPLAN_REST_S
                            : counts->unplanned > 0 && row->planned_s >= UNPLANNED_REST_S;
}

static bool settle_locked(struct db *db, struct evacuation_row *row, struct run *run,
                          struct error *err)
{
    bool has_changed = false, has_failed = false, has_given_up = false, is_anew = false;
    struct evacuation_counts counts;
    if (!evacuation_store_settle(db, row->id, row->request.retries, &has_changed, &has_failed,
                                 err) ||
        !evacuation_store_follow(db, row->id, &is_anew, err) ||
        (row->state == EVACUATION_RUNNING &&
         !evacuation_store_give_up(db, row->id, row->request.patience_s, &has_given_up, err)))
        return false;
    has_changed = has_changed || is_anew;
    if ((has_failed || has_given_up) && !apply_failure(db, row, err))
        return false;
    if (row->state > EVACUATION_PAUSED && row->state < EVACUATION_SUCCEEDED &&
        !evacuation_store_drop_waiting(db, row->id, "the evacuation ends", err))
        return false;
    if (has_changed && !evacuation_store_want_plan(db, row->id, err))
        return false;
    row->is_plan_due = row->is_plan_due || has_changed;
    if (!evacuation_store_count(db, row->id, &counts, err))
        return false;
    run->is_running = row->state == EVACUATION_RUNNING;
    run->cancels = row->state == EVACUATION_CANCELLING || row->state == EVACUATION_ROLLING_BACK;
    run->gives_turns = evacuation_gives_turns(&row->request);
    if (counts.waiting == 0 && counts.moving == 0)
        return end(db, row, run, &counts, err);
    return !is_plan_due(row, &counts) || replan(db, row, run, err);
}

static bool settle(struct db *db, void *context, struct error *err)
{
    struct run *run = context;
    auto_evacuation_row struct evacuation_row row = {0};
    return evacuation_store_try_lock(db, run->id, &row, &run->is_locked, err) &&
           (!run->is_locked || settle_locked(db, &row, run, err));
}

/* ---- moves ---- */

struct start_work {
    struct run *run;
    const char *vm;
    const struct db_rows *rows; /* of the VM, read under the lock */
};

static bool hold(struct db *db, const char *id, const char *vm,
                 const struct preflight_result *result, struct error *err)
{
    json_t *reasons = json_array();
    for (size_t i = 0; i < result->count; i++) {
        const struct blocker *b = &result->blockers[i];
        json_array_append_new(reasons,
                              json_pack("{s:s, s:s, s:s}", "code", blocker_code_names[b->code],
                                        "message", b->message, "fix", b->fix));
    }
    auto_free char *text = json_dumps(reasons, JSON_COMPACT);
    json_decref(reasons);
    return evacuation_store_hold(db, id, vm, text ? text : "[]", err);
}

static bool is_not_live(const struct preflight_result *result)
{
    for (size_t i = 0; i < result->count; i++) {
        if (result->blockers[i].code == BLOCKER_VM_NOT_LIVE)
            return true;
    }
    return false;
}

/* A VM that cannot move live any more is suspended where the request allows it. */
static bool admit(struct db *db, const struct evacuation_row *row,
                  struct admission_request *request, struct admission *admission,
                  char migration[UUID_SIZE], struct error *err)
{
    if (!admission_create(db, request, admission, migration, err))
        return false;
    if (!row->request.may_suspend || request->mode != MODE_LIVE || !is_not_live(&admission->result))
        return true;
    admission_done(admission);
    *admission = (struct admission){0};
    request->mode = MODE_SUSPEND;
    return admission_create(db, request, admission, migration, err);
}

/* The migration comes to be in this transaction or not at all. */
static bool move(struct db *db, const struct evacuation_row *row, const struct start_work *work,
                 struct admission_request *request, struct error *err)
{
    char migration[UUID_SIZE];
    const char *vm = work->vm;
    struct admission admission = {0};
    if (!admit(db, row, request, &admission, migration, err))
        return false;
    bool is_done = admission.result.count > 0
                       ? hold(db, row->id, vm, &admission.result, err)
                       : evacuation_store_begin_move(db, row->id, vm, migration,
                                                     migration_mode_names[request->mode], err);
    if (is_done && admission.result.count == 0) {
        log_info("evacuation %s: migration %s moves VM %s", row->id, migration, vm);
        failpoint_pass("evacuation.move-made");
    }
    admission_done(&admission);
    return is_done;
}

static bool start_locked(struct db *db, const struct evacuation_row *row,
                         const struct start_work *work, struct error *err)
{
    const char *own = db_value(work->rows, 0, "mapping");
    const char *strategy = db_value(work->rows, 0, "strategy");
    const char *map = own ? own : row->request.mapping;
    struct admission_request request = {
        .vm = db_value(work->rows, 0, "current_vm_id"),
        .pool = db_value(work->rows, 0, "pool_id"),
        .host = db_value(work->rows, 0, "host_id"),
        .mode =
            strcmp(strategy, migration_mode_names[MODE_SUSPEND]) == 0 ? MODE_SUSPEND : MODE_LIVE,
        .policy = {.priority = (int)db_value_int(work->rows, 0, "priority"),
                   .stall_timeout_s = POLICY_STALL_TIMEOUT_S,
                   .switchover.when = evacuation_gives_turns(&row->request) ? SWITCHOVER_MANUAL
                                                                            : SWITCHOVER_AUTOMATIC},
        .stall_limit_ms = STALL_LIMIT_MS,
        .parallel_disks = 1,
        .created_by = row->created_by,
        .traceparent = "",
        .host_lost_after_s = work->run->host_lost_after_s};
    if (map && !mapping_decode(map, &request.set, NULL, err))
        return error_prefix(err, "stored mapping");
    bool is_done = move(db, row, work, &request, err);
    mapping_done(&request.set);
    return is_done;
}

/* What was due before the lock may have been started, or planned anew, by another coordinator. */
static bool start_one(struct db *db, void *context, struct error *err)
{
    struct start_work work = *(const struct start_work *)context;
    auto_db_rows struct db_rows *rows = NULL;
    auto_evacuation_row struct evacuation_row row = {0};
    struct evacuation_counts counts;
    bool is_locked = false;
    if (!evacuation_store_try_lock(db, work.run->id, &row, &is_locked, err))
        return false;
    if (!is_locked || row.state != EVACUATION_RUNNING)
        return true;
    if (!evacuation_store_count(db, row.id, &counts, err))
        return false;
    if (row.request.at_once && counts.moving >= row.request.at_once)
        return true;
    if (!evacuation_store_due(db, row.id, work.vm, work.run->host_lost_after_s, &rows, err))
        return false;
    work.rows = rows;
    return db_count(rows) == 0 || start_locked(db, &row, &work, err);
}

static bool start_due(struct db *db, struct run *run, struct error *err)
{
    auto_db_rows struct db_rows *rows = NULL;
    if (!evacuation_store_due(db, run->id, NULL, run->host_lost_after_s, &rows, err))
        return false;
    for (int i = 0; i < db_count(rows); i++) {
        struct start_work work = {.run = run, .vm = db_value(rows, i, "vm_id")};
        if (transaction_run(db, start_one, &work, err))
            continue;
        if (err->code == ERROR_UNREACHABLE)
            return false;
        log_error("evacuation %s: VM %s: %s", run->id, work.vm, err->text); /* the others go on */
    }
    return true;
}

/* ---- switch-overs */

static bool let_go(struct db *db, const char *migration, bool *is_going, struct error *err)
{
    auto_migration_row struct migration_row row = {0};
    if (!migration_store_lock(db, migration, &row, err))
        return false;
    *is_going = row.state == MIGRATION_READY;
    return !*is_going || transition_apply(db, &row, EVENT_SWITCH_OVER, NULL, err);
}

static bool give_turns(struct db *db, const struct evacuation_request *request,
                       const struct db_rows *rows, struct error *err)
{
    size_t count = (size_t)db_count(rows);
    auto_free struct evacuation_switchover *list = memory_array(count, sizeof *list);
    for (size_t i = 0; i < count; i++)
        list[i] = (struct evacuation_switchover){
            .source = db_value(rows, (int)i, "source_host_id"),
            .destination = db_value(rows, (int)i, "destination_host_id"),
            .is_own = db_value_bool(rows, (int)i, "is_own"),
            .is_going = db_value_bool(rows, (int)i, "is_going")};
    for (size_t i = 0; i < count; i++)
        if (!list[i].is_going && evacuation_has_turn(request, list, count, &list[i]) &&
            !let_go(db, db_value(rows, (int)i, "id"), &list[i].is_going, err))
            return false;
    return true;
}

/* Under the lock, so that two coordinators do not let go more than one of them would. */
static bool let_switch_locked(struct db *db, void *context, struct error *err)
{
    const struct run *run = context;
    auto_db_rows struct db_rows *rows = NULL;
    auto_evacuation_row struct evacuation_row row = {0};
    bool is_locked = false;
    if (!evacuation_store_try_lock(db, run->id, &row, &is_locked, err))
        return false;
    return !is_locked ||
           (evacuation_store_switchovers(db, run->id, run->host_lost_after_s, &rows, err) &&
            give_turns(db, &row.request, rows, err));
}

static bool let_switch(struct db *db, struct run *run, struct error *err)
{
    return !run->gives_turns || transaction_run(db, let_switch_locked, run, err);
}

static bool cancel_moves(struct db *db, const struct run *run, struct error *err)
{
    auto_db_rows struct db_rows *rows = NULL;
    if (!evacuation_store_to_cancel(db, run->id, &rows, err))
        return false;
    for (int i = 0; i < db_count(rows); i++) {
        if (!migration_apply_event(db, db_value(rows, i, "id"), EVENT_CANCEL, NULL, err) &&
            err->code != ERROR_CONFLICT)
            return false;
    }
    return true;
}

static bool run_one(struct db *db, struct run *run, struct error *err)
{
    if (!transaction_run(db, settle, run, err))
        return false;
    if (!run->is_locked)
        return true;
    if (run->cancels)
        return cancel_moves(db, run, err);
    return let_switch(db, run, err) && (!run->is_running || start_due(db, run, err));
}

bool evacuation_run(struct db *db, int host_lost_after_s, struct error *err)
{
    auto_db_rows struct db_rows *rows = NULL;
    if (!evacuation_store_active(db, &rows, err))
        return false;
    for (int i = 0; i < db_count(rows); i++) {
        struct run run = {.id = db_value(rows, i, "id"), .host_lost_after_s = host_lost_after_s};
        if (run_one(db, &run, err))
            continue;
        if (err->code == ERROR_UNREACHABLE)
            return false;
        log_error("evacuation %s: %s", run.id, err->text); /* the others go on */
    }
    return true;
}
