/* Operators' changes; see control.h. */
#include "coordinator/scheduler/control.h"

#include "coordinator/scheduler/transition.h"
#include "coordinator/store/step_store.h"

struct control_work {
    const char *id;
    bool is_paused;
    const struct policy_change *change;
};

static bool refuse(const struct migration_row *row, const char *what, struct error *err)
{
    return error_set(err, ERROR_CONFLICT, "migration %s is %s: %s", row->id,
                     migration_state_names[row->state], what);
}

static bool pause_copy(struct db *db, void *context, struct error *err)
{
    struct control_work *work = context;
    auto_migration_row struct migration_row row = {0};
    if (!migration_store_lock(db, work->id, &row, err))
        return false;
    if (!migration_takes_settings(row.state))
        return refuse(&row, "it has no copy that could be paused or resumed", err);
    if (!migration_control_pause(db, row.id, work->is_paused, err))
        return false;
    step_store_wake(db, row.source_host);
    return true;
}

bool control_pause(struct db *db, const char *id, bool is_paused, struct error *err)
{
    struct control_work work = {.id = id, .is_paused = is_paused};
    return transaction_run(db, pause_copy, &work, err);
}

bool control_switch_over(struct db *db, const char *id, struct error *err)
{
    if (migration_apply_event(db, id, EVENT_SWITCH_OVER, NULL, err))
        return true;
    return err->code != ERROR_CONFLICT ? false
                                       : error_prefix(err,
                                                      "migration %s cannot be told to switch "
                                                      "over",
                                                      id);
}

static bool change_policy(struct db *db, void *context, struct error *err)
{
    struct control_work *work = context;
    const struct policy_change *change = work->change;
    auto_migration_row struct migration_row row = {0};
    if (!migration_store_lock(db, work->id, &row, err))
        return false;
    if (migration_is_ended(row.state))
        return refuse(&row, "nothing of it can be changed any more", err);
    if (change->has_bandwidth && !migration_takes_settings(row.state))
        return refuse(&row, "its copy is over, so its bandwidth cannot be changed", err);
    bool has_early = change->has_retries || change->has_stall_timeout || change->has_switchover ||
                     change->has_network;
    if (has_early && row.state != MIGRATION_QUEUED)
        return refuse(&row,
                      "retries, stall_timeout_s, switchover and network can be changed only while "
                      "it is queued",
                      err);
    if (!migration_control_change(db, row.id, change, err) ||
        (change->has_switchover &&
         !migration_control_set_switchover(db, row.id, &change->policy.switchover, err)))
        return false;
    step_store_wake(db, row.source_host);
    return true;
}

bool control_change(struct db *db, const char *id, const struct policy_change *change,
                    struct error *err)
{
    struct control_work work = {.id = id, .change = change};
    return transaction_run(db, change_policy, &work, err);
}
