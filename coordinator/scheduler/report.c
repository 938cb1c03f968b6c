/* Reports: results come last, so that one which ends a migration finds everything that the host
 * said before it. A result whose step is not live (answered before, superseded, of an older epoch)
 * changes nothing. */
#include "coordinator/scheduler/report.h"

#include "base/log.h"
#include "coordinator/scheduler/tally.h"
#include "coordinator/scheduler/transition.h"
#include "coordinator/store/inventory_store.h"
#include "coordinator/store/ledger.h"
#include "coordinator/store/migration_control.h"
#include "coordinator/store/step_store.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    RETRY_LONGEST_S = 60,
    CLOCK_OFF_MS = 5000, /* as for the database's clock: api/health.c */
};

struct host_work {
    const char *host;
    const struct agent_report *report;
    int64_t sent_bytes; /* by background copies, since the report before */
};

static bool apply_inventory(struct db *db, void *context, struct error *err)
{
    struct host_work *work = context;
    return inventory_store_apply(db, work->host, work->report->inventory_generation,
                                 &work->report->inventory, err);
}

static bool apply_ledger(struct db *db, void *context, struct error *err)
{
    struct host_work *work = context;
    return ledger_report(db, work->host, &work->report->ledger, err);
}

static bool apply_progress(struct db *db, void *context, struct error *err)
{
    struct host_work *work = context;
    return migration_store_progress(db, work->host, &work->report->progress, &work->sent_bytes,
                                    err);
}

struct mirror_work {
    const char *id;
    bool is_mirrored;
};

static bool apply_mirror(struct db *db, void *context, struct error *err)
{
    struct mirror_work *work = context;
    auto_migration_row struct migration_row row = {0};
    if (!migration_store_lock(db, work->id, &row, err))
        return false;
    enum migration_state expected = work->is_mirrored ? MIGRATION_TRANSFERRING : MIGRATION_READY;
    if (row.state != expected || (work->is_mirrored && row.may_switch))
        return true; /* it moved on meanwhile */
    return transition_apply(db, &row, work->is_mirrored ? EVENT_MIRRORED : EVENT_MIRROR_LOST, NULL,
                            err);
}

/* A transfer whose switch-over is held does not end: its progress tells that it is mirrored. */
static bool apply_mirrors(struct db *db, const char *host, struct error *err)
{
    auto_db_rows struct db_rows *rows = NULL;
    if (!migration_control_mirror_news(db, host, &rows, err))
        return false;
    for (int i = 0; i < db_count(rows); i++) {
        struct mirror_work work = {.id = db_value(rows, i, "id"),
                                   .is_mirrored = db_value_bool(rows, i, "is_mirrored")};
        if (!transaction_run(db, apply_mirror, &work, err))
            return false;
    }
    return true;
}

/* ---- results ---- */

/* Steps that are repeated until they are done; all others move the migration when they fail. */
static bool is_repeated(enum step_kind kind)
{
    switch (kind) {
    case STEP_CONCLUDE:
    case STEP_ABORT_SOURCE:
    case STEP_ABORT_DESTINATION:
    case STEP_CLEAN_SOURCE:
    case STEP_CLEAN_DESTINATION:
        return true;
    case STEP_PREPARE:
    case STEP_TRANSFER:
    case STEP_RECEIVE:
    case STEP_HANDOFF:
        return false;
    }
    return false;
}

static enum migration_event by_verdict(enum handoff_verdict verdict, enum migration_event owned,
                                       enum migration_event abandoned, enum migration_event none)
{
    return verdict == VERDICT_OWNED ? owned : verdict == VERDICT_ABANDONED ? abandoned : none;
}

/* False: the end of this step moves nothing. */
static bool event_of(const struct step_row *step, const struct step_result *result,
                     enum migration_event *event)
{
    switch (step->kind) {
    case STEP_PREPARE:
        *event = result->is_done ? EVENT_PREPARED : EVENT_PREPARE_FAILED;
        return true;
    case STEP_TRANSFER:
        *event = result->is_done ? EVENT_TRANSFERRED : EVENT_TRANSFER_FAILED;
        return true;
    case STEP_HANDOFF:
        *event = by_verdict(result->verdict, EVENT_SOURCE_SAYS_OWNED, EVENT_SOURCE_SAYS_ABANDONED,
                            EVENT_HANDOFF_FAILED);
        return true;
    case STEP_RECEIVE:
        *event = by_verdict(result->verdict, EVENT_DESTINATION_SAYS_OWNED,
                            EVENT_DESTINATION_SAYS_ABANDONED, EVENT_RECEIVE_FAILED);
        return true;
    case STEP_ABORT_SOURCE:
        *event = EVENT_SOURCE_ABORTED;
        return true;
    case STEP_ABORT_DESTINATION:
        *event = EVENT_DESTINATION_ABORTED;
        return true;
    case STEP_CLEAN_SOURCE:
        *event = EVENT_SOURCE_CLEAN;
        return true;
    case STEP_CLEAN_DESTINATION:
        *event = EVENT_DESTINATION_CLEAN;
        return true;
    case STEP_CONCLUDE:
        return false;
    }
    return false;
}

/* 2, 4, 8 ... 60 s. A conclude that nobody waits for any more is not repeated. */
static bool repeat(struct db *db, const struct migration_row *row, const struct step_row *step,
                   const struct step_result *result, struct error *err)
{
    bool is_wanted = true;
    if (step->kind == STEP_CONCLUDE &&
        !step_store_is_live(db, row->id, STEP_HANDOFF, &is_wanted, err))
        return false;
    if (!is_wanted)
        return true;
    int delay_s = step->attempt < 6 ? 1 << step->attempt : RETRY_LONGEST_S;
    struct step_new again = {.kind = step->kind,
                             .verdict = step->verdict,
                             .attempt = step->attempt + 1,
                             .delay_s = delay_s};
    char waits_for[400];
    snprintf(waits_for, sizeof waits_for, "%s, attempt %d in %d s: %s", step_kind_names[step->kind],
             again.attempt, delay_s, result->error_text);
    return step_store_insert(db, row, &again, err) &&
           (migration_is_ended(row->state) ||
            migration_store_set_waits_for(db, row->id, waits_for, err));
}

/* The destination's part has ended for good: what it never spoke of it never made. */
static bool settle(struct db *db, const struct migration_row *row, const struct step_row *step,
                   struct error *err)
{
    if (step->kind != STEP_ABORT_DESTINATION && step->kind != STEP_CLEAN_DESTINATION)
        return true;
    return ledger_settle(db, row->id, row->destination_host, err);
}

static bool move_on(struct db *db, struct migration_row *row, const struct step_row *step,
                    const struct step_result *result, struct error *err)
{
    if (!result->is_done && is_repeated(step->kind))
        return repeat(db, row, step, result, err);
    if (!settle(db, row, step, err))
        return false;
    if (step->kind == STEP_HANDOFF && result->pause_us > 0 &&
        !migration_store_set_pause(db, row->id, result->pause_us, err))
        return false;
    enum migration_event event;
    if (!event_of(step, result, &event))
        return true;
    struct error why;
    if (!result->is_done)
        error_set(&why, result->error, "%s: %s", step_kind_names[step->kind],
                  result->error_text[0] ? result->error_text : "no reason given");
    return transition_apply(db, row, event, result->is_done ? NULL : &why, err);
}

struct result_work {
    const char *host;
    const struct step_result *result;
    enum step_kind kind;
    bool is_taken; /* the step was live */
};

/* A verdict that comes too late must not go unseen. */
static void log_late(const struct step_row *step, const struct step_result *result)
{
    if (result->verdict == VERDICT_OWNED)
        log_warning("step %s (%s) of migration %s says owned, and is answered or superseded",
                    step->id, step_kind_names[step->kind], step->migration);
}

static bool apply_result(struct db *db, void *context, struct error *err)
{
    struct result_work *work = context;
    const struct step_result *result = work->result;
    struct step_row step = {0};
    bool is_found = false;
    work->is_taken = false; /* of an attempt that was rolled back */
    auto_migration_row struct migration_row row = {0};
    if (!migration_store_lock_of_step(db, work->host, result->step, &row, &is_found, err))
        return false;
    if (!is_found) {
        log_warning("host %s reports step %s, which is none of its steps", work->host,
                    result->step);
        return true;
    }
    /* under the lock: nobody else answers or supersedes it now */
    if (!step_store_find(db, work->host, result->step, &step, &is_found, err))
        return false;
    if (!is_found || !step.is_live) {
        log_late(&step, result);
        return true;
    }
    work->kind = step.kind;
    work->is_taken = true;
    return step_store_finish(db, result, err) && move_on(db, &row, &step, result, err);
}

static bool apply_results(struct db *db, const char *host, const struct agent_report *report,
                          struct error *err)
{
    const struct json_array *results = &report->results;
    const struct step_result *items = results->items;
    for (size_t i = 0; i < results->count; i++) {
        struct result_work work = {.host = host, .result = &items[i]};
        if (!transaction_run(db, apply_result, &work, err))
            return error_prefix(err, "result of step %s", items[i].step);
        if (work.is_taken)
            tally_result(work.kind, items[i].is_done, items[i].pause_us);
    }
    return true;
}

bool report_clock(struct db *db, const char *host, int64_t offset_ms, struct error *err)
{
    struct clock_news news;
    if (!inventory_store_clock(db, host, offset_ms, CLOCK_OFF_MS, &news, err))
        return error_prefix(err, "clock");
    if (news.is_off)
        log_warning("the clock of host %s is %.1f s %s this coordinator's, more than %d s: check "
                    "time synchronization at both",
                    host, (double)llabs(offset_ms) / 1000, offset_ms > 0 ? "ahead of" : "behind",
                    CLOCK_OFF_MS / 1000);
    if (news.is_right_again)
        log_info("the clock of host %s is right again", host);
    return true;
}

/* Inventories that the host began before a result and that come after it would undo what the
 * result did, so they are shut out before the first one counts; an inventory in the report itself
 * shuts them out as well. That is a transaction of its own: an inventory locks its host before the
 * migrations, a result must not do it the other way round. */
static bool note_host(struct db *db, const char *host, int lost_after_s,
                      const struct agent_report *report, struct error *err)
{
    bool shuts_out = report->results.count && !report->has_inventory;
    return inventory_store_seen(db, host, lost_after_s,
                                shuts_out ? report->inventory_generation : 0, err);
}

bool report_apply(struct db *db, const char *host, int lost_after_s,
                  const struct agent_report *report, struct error *err)
{
    struct host_work work = {.host = host, .report = report};
    if (!note_host(db, host, lost_after_s, report, err))
        return error_prefix(err, "host");
    if (report->has_inventory && !transaction_run(db, apply_inventory, &work, err))
        return error_prefix(err, "inventory");
    if (report->ledger.count && !transaction_run(db, apply_ledger, &work, err))
        return error_prefix(err, "ledger");
    if (report->progress.count &&
        (!transaction_run(db, apply_progress, &work, err) || !apply_mirrors(db, host, err)))
        return error_prefix(err, "progress");
    tally_copied(work.sent_bytes);
    return apply_results(db, host, report, err);
}
