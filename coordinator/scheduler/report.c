/* Reports: results come last, so that one which ends a migration finds everything that the host
 * said before it. */
#include "coordinator/scheduler/report.h"

#include "base/log.h"
#include "coordinator/scheduler/result.h"
#include "coordinator/scheduler/tally.h"
#include "coordinator/scheduler/transition.h"
#include "coordinator/store/inventory_store.h"
#include "coordinator/store/ledger.h"
#include "coordinator/store/migration_control.h"

#include <stdio.h>
#include <stdlib.h>

enum { CLOCK_OFF_MS = 5000 }; /* as for the database's clock: api/health.c */

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

static bool is_results_only(const struct agent_report *report)
{
    return report->results.count && !report->has_inventory && !report->ledger.count &&
           !report->progress.count;
}

bool report_apply(struct db *db, const char *host, int lost_after_s,
                  const struct agent_report *report, struct error *err)
{
    struct host_work work = {.host = host, .report = report};
    if (is_results_only(report))
        return true; /* its polls say that it lives */
    if (!inventory_store_seen(db, host, lost_after_s, err))
        return error_prefix(err, "host");
    if (report->has_inventory && !transaction_run(db, apply_inventory, &work, err))
        return error_prefix(err, "inventory");
    if (report->ledger.count && !transaction_run(db, apply_ledger, &work, err))
        return error_prefix(err, "ledger");
    if (report->progress.count &&
        (!transaction_run(db, apply_progress, &work, err) || !apply_mirrors(db, host, err)))
        return error_prefix(err, "progress");
    tally_copied(work.sent_bytes);
    return true;
}

bool report_apply_results(struct db_pool *pool, const char *host, const struct agent_report *report,
                          struct error *err)
{
    const struct step_result *results = report->results.items;
    for (size_t i = 0; i < report->results.count; i++) {
        const struct result result = {
            .host = host,
            .answer = &results[i],
            .outdated = report->has_inventory ? 0 : report->inventory_generation,
        };
        if (!result_apply(pool, &result, err))
            return error_prefix(err, "result of step %s", results[i].step);
    }
    return true;
}
