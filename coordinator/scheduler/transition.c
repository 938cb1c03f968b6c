/* Applies events; see transition.h. The rules are in coordinator/domain/migration.c, the statements
 * in coordinator/store/. */
#include "coordinator/scheduler/transition.h"

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "coordinator/store/migration_control.h"
#include "coordinator/store/step_store.h"

enum {
    TRANSACTION_ATTEMPTS = 5,
    HELD_AGAIN_S = 5, /* rest of a transfer that ended though its switch-over is held */
};

bool transaction_run(struct db *db, transaction_work *work, void *context, struct error *err)
{
    for (int attempt = 1;; attempt++) {
        if (!db_begin(db, err))
            return false;
        if (work(db, context, err) && failpoint("transaction.commit", err) && db_commit(db, err)) {
            failpoint_pass("transaction.committed");
            return true;
        }
        db_rollback(db);
        if (err->code != ERROR_TIMEOUT || attempt == TRANSACTION_ATTEMPTS)
            return false;
        clock_sleep_ms((int64_t)10 * attempt);
    }
}

/* Cancelled alone is no reason: it is what one end says when the other, or we, ended the epoch. */
static bool passes(const struct error *why)
{
    return error_is_transient(why->code) || why->code == ERROR_CANCELLED;
}

/* Why this handoff or earlier step failed, out of what both ends say: a reason that lasts comes
 * before one that passes, and that before "cancelled". A guest that ended is the reason for
 * whatever the destination met. *is_known: anybody gave one. */
static bool find_cause(struct db *db, const struct migration_row *row, const struct error *why,
                       struct error *cause, bool *is_known, struct error *err)
{
    static const struct error no_reason = {ERROR_INTERNAL, "it failed without a reason"};
    bool has_failed = false;
    struct error received;
    if (!step_store_receive_error(db, row->id, row->epoch, &has_failed, &received, err))
        return false;
    *cause = why ? *why : no_reason;
    bool has_ended = why && why->code == ERROR_GUEST_ENDED;
    if (has_failed && !has_ended && (!why || !passes(&received) || why->code == ERROR_CANCELLED))
        *cause = received;
    *is_known = why || has_failed;
    return true;
}

/* A handoff that failed is worth another epoch unless an end gave a reason that lasts. */
static bool can_repeat(struct db *db, const struct migration_row *row, const struct error *why,
                       bool *result, struct error *err)
{
    *result = false;
    if (row->is_cancel_requested || row->epoch >= MIGRATION_EPOCHS)
        return true;
    struct error cause;
    bool is_known = false;
    if (!find_cause(db, row, why, &cause, &is_known, err))
        return false;
    *result = !is_known || (passes(&cause) && (!why || passes(why)));
    return true;
}

static bool can_retry(const struct migration_row *row)
{
    enum error_code code;
    return !row->is_cancel_requested && row->retries_left > 0 &&
           error_code_parse(row->error_code, &code) && error_is_transient(code);
}

static bool gather_facts(struct db *db, const struct migration_row *row, enum migration_event event,
                         const struct error *why, unsigned *facts, struct error *err)
{
    *facts = row->is_cancel_requested ? FACT_CANCELLED : 0;
    *facts |= row->may_switch ? FACT_MAY_SWITCH : 0;
    *facts |= can_retry(row) ? FACT_CAN_RETRY : 0;
    if (event == EVENT_SOURCE_SAYS_ABANDONED || event == EVENT_HANDOFF_FAILED) {
        bool is_repeatable = false;
        if (!can_repeat(db, row, why, &is_repeatable, err))
            return false;
        *facts |= is_repeatable ? FACT_CAN_REPEAT : 0;
    }
    if (row->state == MIGRATION_ABORTING) {
        bool source = false;
        bool destination = false;
        if (!step_store_aborted(db, row->id, &source, &destination, err))
            return false;
        *facts |= source ? FACT_SOURCE_ABORTED : 0;
        *facts |= destination ? FACT_DESTINATION_ABORTED : 0;
    }
    return true;
}

static bool keep_error(struct db *db, const struct migration_row *row, const struct error *why,
                       struct error *err)
{
    struct error cause;
    bool is_known = false;
    return find_cause(db, row, why, &cause, &is_known, err) &&
           migration_store_set_error(db, row->id, &cause, err);
}

static bool alarm_people(struct db *db, const struct migration_row *row, enum migration_event event,
                         struct error *err)
{
    log_error("migration %s is %s, but \"%s\": the two hosts contradict each other", row->id,
              migration_state_names[row->state], migration_event_names[event]);
    return migration_store_set_waits_for(
        db, row->id, "a person: both hosts say that the VM is theirs; stop one of the two", err);
}

/* Rests a little longer before each further handoff. */
static int delay_of(const struct migration_row *row, enum step_kind kind)
{
    if (kind != STEP_TRANSFER)
        return 0;
    return row->state == MIGRATION_READY ? HELD_AGAIN_S : (int)row->epoch;
}

static bool has_verdict(enum step_kind kind)
{
    return kind == STEP_CONCLUDE || kind == STEP_CLEAN_SOURCE;
}

static bool insert_steps(struct db *db, const struct migration_row *row,
                         const struct migration_next *next, struct error *err)
{
    for (size_t i = 0; i < next->step_count; i++) {
        enum step_kind kind = next->steps[i];
        struct step_new step = {.kind = kind,
                                .verdict = has_verdict(kind) ? next->verdict : VERDICT_NONE,
                                .attempt = 1,
                                .delay_s = delay_of(row, kind)};
        if (!step_store_insert(db, row, &step, err))
            return false;
    }
    return true;
}

static bool do_effects(struct db *db, struct migration_row *row, enum migration_event event,
                       unsigned effects, struct error *err)
{
    if (effects & EFFECT_COMMIT && !migration_store_commit(db, row, err))
        return false;
    if (effects & EFFECT_CANCEL_HANDOFF && !step_store_ask_cancel(db, row, STEP_HANDOFF, err))
        return false;
    if (effects & EFFECT_ALARM && !alarm_people(db, row, event, err))
        return false;
    if (effects & EFFECT_LET_SWITCH && (!migration_control_let_switch(db, row->id, err) ||
                                        !step_store_hasten(db, row, STEP_TRANSFER, err)))
        return false;
    if (effects & EFFECT_RETRY && !migration_control_retry(db, row->id, err))
        return false;
    return !(effects & EFFECT_NO_RETRY) || migration_control_no_retry(db, row->id, err);
}

static bool end(struct db *db, const struct migration_row *row, struct error *err)
{
    return row->state == MIGRATION_SUCCEEDED || migration_store_release_vm(db, row, err);
}

/* Whoever works on it, the line belongs to the migration and to the trace that created it. */
static void say_moved(const struct migration_row *row, enum migration_event event,
                      enum migration_state before)
{
    struct log_context context;
    log_context_get(&context);
    log_context_migration(row->id);
    if (row->traceparent[0])
        log_context_trace(row->traceparent);
    log_info("migration %s: %s, so %s -> %s", row->id, migration_event_names[event],
             migration_state_names[before], migration_state_names[row->state]);
    log_context_set(&context);
}

bool transition_apply(struct db *db, struct migration_row *row, enum migration_event event,
                      const struct error *why, struct error *err)
{
    enum migration_state before = row->state;
    unsigned facts = 0;
    struct migration_next next;
    if (!gather_facts(db, row, event, why, &facts, err) ||
        !migration_next(row->state, event, facts, &next, err))
        return false;
    if (event == EVENT_CANCEL && !migration_is_ended(before) && before != MIGRATION_ABORTING &&
        !migration_store_ask_cancel(db, row, err))
        return false;
    bool has_failed = next.state == MIGRATION_ABORTING || next.state == MIGRATION_FAILED;
    if (has_failed && before != next.state && before != MIGRATION_ABORTING &&
        !row->is_cancel_requested && !keep_error(db, row, why, err))
        return false;
    if (next.effects & EFFECT_SUPERSEDE && !step_store_supersede(db, row, err))
        return false;
    int64_t epoch = row->epoch + (next.effects & EFFECT_NEW_EPOCH ? 1 : 0);
    if (next.state != before && !migration_store_move(db, row, next.state, epoch, err))
        return false;
    if (!do_effects(db, row, event, next.effects, err) || !insert_steps(db, row, &next, err))
        return false;
    if (next.state == before)
        return true;
    say_moved(row, event, before);
    return !migration_is_ended(next.state) || end(db, row, err);
}

struct event_work {
    const char *id;
    enum migration_event event;
    const struct error *why;
};

static bool apply_event(struct db *db, void *context, struct error *err)
{
    struct event_work *work = context;
    auto_migration_row struct migration_row row = {0};
    return migration_store_lock(db, work->id, &row, err) &&
           transition_apply(db, &row, work->event, work->why, err);
}

bool migration_apply_event(struct db *db, const char *id, enum migration_event event,
                           const struct error *why, struct error *err)
{
    struct event_work work = {.id = id, .event = event, .why = why};
    return transaction_run(db, apply_event, &work, err);
}
