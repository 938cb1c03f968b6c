/* The sweep: once a second, on a thread of its own, it does what no report causes: starts queued
 * migrations, moves on those whose destination went away, and wakes hosts for steps that fell due.
 * Any number of coordinators sweep one database: every change is made under a row's lock that
 * another sweep skips, and is checked again there. */
#include "coordinator/scheduler/scheduler.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "coordinator/scheduler/admission.h"
#include "coordinator/scheduler/evacuation.h"
#include "coordinator/scheduler/transition.h"
#include "coordinator/store/idempotency_store.h"
#include "coordinator/store/inventory_store.h"
#include "coordinator/store/migration_control.h"
#include "coordinator/store/step_store.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

enum { SWEEP_MS = 1000, SWEEP_STARTS = 64, DB_WAIT_MS = 5000, EXPIRY_MS = 60000 };

struct scheduler {
    struct db_pool *pool;
    struct scheduler_config config;
    void (*wake_host)(void *context, const char *host);
    void *context;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    bool is_stopping;
    /* Since when sweeps follow each other without a gap. Hosts can only be heard while coordinator
     * and database are up, so silence counts only when it was listened to. */
    int64_t listening_since_ms;
    int64_t last_sweep_ms;
    int64_t last_expiry_ms; /* when answers that are kept for their keys were looked through */
    bool has_failed;        /* the last sweep; logged once until one succeeds */
};

static bool start_queued(struct scheduler *scheduler, struct db *db, struct error *err)
{
    auto_db_rows struct db_rows *rows = NULL;
    if (!migration_store_queue(db, ADMISSION_MOST_PER_HOST, SWEEP_STARTS, &rows, err))
        return false;
    for (int i = 0; i < db_count(rows); i++) {
        const char *id = db_value(rows, i, "id");
        if (admission_start(db, id, scheduler->config.host_lost_after_s, err))
            continue;
        if (err->code == ERROR_UNREACHABLE)
            return false;
        log_error("migration %s cannot be started: %s", id, err->text); /* the others can */
    }
    return true;
}

struct lost_work {
    const char *id;
    int seconds; /* of silence, or without a byte */
};

static bool lose(struct db *db, void *context, struct error *err)
{
    struct lost_work *work = context;
    auto_migration_row struct migration_row row = {0};
    bool is_locked = false;
    if (!migration_store_try_lock(db, work->id, &row, &is_locked, err))
        return false;
    bool is_due =
        is_locked && (row.state == MIGRATION_PREPARING || row.state == MIGRATION_TRANSFERRING ||
                      row.state == MIGRATION_READY || row.state == MIGRATION_ABORTING);
    if (!is_due)
        return true;
    struct error why;
    error_set(&why, ERROR_UNREACHABLE, "the destination host did not report for %d s",
              work->seconds);
    return transition_apply(db, &row, EVENT_DESTINATION_LOST, &why, err);
}

static bool stall(struct db *db, void *context, struct error *err)
{
    struct lost_work *work = context;
    auto_migration_row struct migration_row row = {0};
    bool is_locked = false;
    if (!migration_store_try_lock(db, work->id, &row, &is_locked, err))
        return false;
    if (!is_locked || row.state != MIGRATION_TRANSFERRING)
        return true;
    struct error why;
    error_set(&why, ERROR_TIMEOUT, "the copy has not moved for %d s", work->seconds);
    return transition_apply(db, &row, EVENT_STALLED, &why, err);
}

/* Progress that nobody could report does not count as missing. */
static bool stall_copies(struct scheduler *scheduler, struct db *db, struct error *err)
{
    auto_db_rows struct db_rows *rows = NULL;
    if (!migration_control_stalled(db, &rows, err))
        return false;
    for (int i = 0; i < db_count(rows); i++) {
        struct lost_work work = {.id = db_value(rows, i, "id"),
                                 .seconds = (int)db_value_int(rows, i, "stall_timeout_s")};
        int64_t listened_ms = clock_monotonic_ms() - scheduler->listening_since_ms;
        if (listened_ms < (int64_t)work.seconds * 1000 || transaction_run(db, stall, &work, err))
            continue;
        if (err->code == ERROR_UNREACHABLE)
            return false;
        log_error("migration %s, which stalls: %s", work.id, err->text);
    }
    return true;
}

/* Windows of switch-overs open and close. */
static bool turn_windows(struct scheduler *scheduler, struct db *db, struct error *err)
{
    auto_db_rows struct db_rows *rows = NULL;
    if (!migration_control_windows(db, &rows, err))
        return false;
    for (int i = 0; i < db_count(rows); i++)
        scheduler->wake_host(scheduler->context, db_value(rows, i, "source_host_id"));
    return true;
}

static bool lose_hosts(struct scheduler *scheduler, struct db *db, struct error *err)
{
    int seconds = scheduler->config.host_lost_after_s;
    if (clock_monotonic_ms() - scheduler->listening_since_ms < (int64_t)seconds * 1000)
        return true;
    auto_db_rows struct db_rows *rows = NULL;
    if (!inventory_store_lose_silent(db, seconds, err) ||
        !migration_store_destination_lost(db, seconds, &rows, err))
        return false;
    for (int i = 0; i < db_count(rows); i++) {
        struct lost_work work = {.id = db_value(rows, i, "id"), .seconds = seconds};
        if (transaction_run(db, lose, &work, err) || err->code == ERROR_CONFLICT)
            continue; /* a conflict: it moved on by itself meanwhile */
        if (err->code == ERROR_UNREACHABLE)
            return false;
        log_error("migration %s with a lost destination: %s", work.id, err->text);
    }
    return true;
}

/* A wake-up by NOTIFY can be missed and a retry falls due by time alone; waking too often is
 * harmless. */
static bool wake_due_hosts(struct scheduler *scheduler, struct db *db, struct error *err)
{
    auto_db_rows struct db_rows *rows = NULL;
    if (!step_store_due_hosts(db, &rows, err))
        return false;
    for (int i = 0; i < db_count(rows); i++)
        scheduler->wake_host(scheduler->context, db_value(rows, i, "host_id"));
    return true;
}

static bool remove_expired(struct scheduler *scheduler, struct db *db, struct error *err)
{
    int64_t now = clock_monotonic_ms();
    if (now - scheduler->last_expiry_ms < EXPIRY_MS)
        return true;
    scheduler->last_expiry_ms = now;
    return idempotency_store_sweep(db, err);
}

static bool sweep(struct scheduler *scheduler, struct error *err)
{
    auto_db struct db *db = NULL;
    return db_take(scheduler->pool, DB_WAIT_MS, &db, err) && turn_windows(scheduler, db, err) &&
           evacuation_run(db, scheduler->config.host_lost_after_s, err) &&
           start_queued(scheduler, db, err) && lose_hosts(scheduler, db, err) &&
           stall_copies(scheduler, db, err) && wake_due_hosts(scheduler, db, err) &&
           remove_expired(scheduler, db, err);
}

static void sweep_once(struct scheduler *scheduler)
{
    int64_t now = clock_monotonic_ms();
    const int64_t longest_gap = INT64_C(5) * SWEEP_MS;
    if (scheduler->has_failed || now - scheduler->last_sweep_ms > longest_gap)
        scheduler->listening_since_ms = now;
    struct error err;
    bool is_done = sweep(scheduler, &err);
    if (!is_done && !scheduler->has_failed)
        log_error("sweep: %s", err.text);
    if (is_done && scheduler->has_failed)
        log_info("sweep: works again");
    scheduler->has_failed = !is_done;
    scheduler->last_sweep_ms = clock_monotonic_ms();
}

/* False when it is time to stop. */
static bool rest(struct scheduler *scheduler)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += SWEEP_MS / 1000;
    pthread_mutex_lock(&scheduler->mutex);
    int result = 0;
    while (!scheduler->is_stopping && result == 0)
        result = pthread_cond_timedwait(&scheduler->wake, &scheduler->mutex, &until);
    bool goes_on = !scheduler->is_stopping;
    pthread_mutex_unlock(&scheduler->mutex);
    return goes_on;
}

static void *run(void *context)
{
    struct scheduler *scheduler = context;
    do
        sweep_once(scheduler);
    while (rest(scheduler));
    return NULL;
}

bool scheduler_start(struct scheduler **out, struct db_pool *pool,
                     const struct scheduler_config *config,
                     void (*wake_host)(void *context, const char *host), void *context,
                     struct error *err)
{
    struct scheduler *scheduler = memory_alloc(sizeof *scheduler);
    scheduler->pool = pool;
    scheduler->config = *config;
    scheduler->wake_host = wake_host;
    scheduler->context = context;
    scheduler->listening_since_ms = scheduler->last_sweep_ms = clock_monotonic_ms();
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&scheduler->wake, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&scheduler->mutex, NULL);
    int failure = pthread_create(&scheduler->thread, NULL, run, scheduler);
    if (failure) {
        pthread_mutex_destroy(&scheduler->mutex);
        pthread_cond_destroy(&scheduler->wake);
        free(scheduler);
        return error_set_errno(err, ERROR_INTERNAL, failure, "sweep thread");
    }
    *out = scheduler;
    return true;
}

void scheduler_stop(struct scheduler *scheduler)
{
    if (!scheduler)
        return;
    pthread_mutex_lock(&scheduler->mutex);
    scheduler->is_stopping = true;
    pthread_cond_signal(&scheduler->wake);
    pthread_mutex_unlock(&scheduler->mutex);
    pthread_join(scheduler->thread, NULL);
    pthread_mutex_destroy(&scheduler->mutex);
    pthread_cond_destroy(&scheduler->wake);
    free(scheduler);
}
