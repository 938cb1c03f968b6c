/* Results; see result.h. What they do to a migration is in the first half, how many of them share a
 * transaction in the second. */
#include "coordinator/scheduler/result.h"

#include "base/combine.h"
#include "base/log.h"
#include "coordinator/scheduler/tally.h"
#include "coordinator/scheduler/transition.h"
#include "coordinator/store/inventory_store.h"
#include "coordinator/store/ledger.h"
#include "coordinator/store/step_store.h"

#include <pthread.h>
#include <stdio.h>

enum {
    RETRY_LONGEST_S = 60,
    TAKE_TIMEOUT_MS = 10000, /* for a free database connection */
    ALONE_MOST = 2,
};

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

/* A verdict that comes too late must not go unseen. */
static void log_late(const struct step_row *step, const struct step_result *result)
{
    if (result->verdict == VERDICT_OWNED)
        log_warning("step %s (%s) of migration %s says owned, and is answered or superseded",
                    step->id, step_kind_names[step->kind], step->migration);
}

/* ---- many in one transaction ---- */

struct item {
    struct combined combined; /* first */
    const struct result *result;
    struct log_context log; /* of its own thread */
    struct outdated_host host;
    struct answered_step step;
    bool is_settled; /* there is nothing left to do */
    bool is_taken;   /* the step was live */
    bool has_failed; /* for a reason that is nobody's own: `failure` */
    struct error failure;
};

struct batch {
    struct item *items[COMBINE_MOST];
    size_t count;
    bool waits; /* for whoever has a migration locked; else it is left out */
};

/* Nothing when its migration is left out. */
static bool apply(struct db *db, struct item *item, struct error *err)
{
    struct answered_step *answered = &item->step;
    const struct step_result *result = item->result->answer;
    if (!answered->is_found) {
        log_warning("host %s reports step %s, which is none of its steps", item->result->host,
                    result->step);
        return true;
    }
    if (!answered->is_locked)
        return true;
    if (!answered->step.is_live) {
        log_late(&answered->step, result);
        return true;
    }
    item->is_taken = true;
    return step_store_finish(db, result, err) &&
           move_on(db, &answered->migration, &answered->step, result, err);
}

/* Of an attempt that was rolled back nothing stays. */
static void begin_anew(struct item *item)
{
    answered_step_done(&item->step);
    item->is_taken = false;
}

static bool apply_batch(struct db *db, void *context, struct error *err)
{
    struct batch *batch = context;
    struct answered_step *steps[COMBINE_MOST] = {NULL};
    for (size_t i = 0; i < batch->count; i++) {
        begin_anew(batch->items[i]);
        steps[i] = &batch->items[i]->step;
    }
    if (!step_store_lock(db, steps, batch->count, batch->waits, err))
        return false;
    struct log_context own;
    log_context_get(&own);
    bool is_done = true;
    for (size_t i = 0; is_done && i < batch->count; i++) {
        log_context_set(&batch->items[i]->log);
        is_done = apply(db, batch->items[i], err);
    }
    log_context_set(&own);
    return is_done;
}

static void settle_batch(struct batch *batch)
{
    for (size_t i = 0; i < batch->count; i++) {
        struct item *item = batch->items[i];
        item->is_settled = !item->step.is_found || item->step.is_locked;
    }
}

/* Inventories that the host began before a result and that come after it would undo what the result
 * did, so they are shut out before it counts. That is a transaction of its own: an inventory locks
 * its host before the migrations, a result must not do it the other way round. */
static bool shut_out(struct db *db, struct batch *batch, struct error *err)
{
    struct outdated_host *hosts[COMBINE_MOST] = {NULL};
    size_t count = 0, kept = 0;
    for (size_t i = 0; i < batch->count; i++) {
        if (batch->items[i]->host.generation)
            hosts[count++] = &batch->items[i]->host;
    }
    if (count && !inventory_store_outdate(db, hosts, count, batch->waits, err))
        return error_prefix(err, "host");
    for (size_t i = 0; i < batch->count; i++) {
        if (!batch->items[i]->host.is_held)
            batch->items[kept++] = batch->items[i];
    }
    batch->count = kept;
    return true;
}

static bool run_batch(struct db_pool *pool, struct batch *batch, struct error *err)
{
    auto_db struct db *db = NULL;
    if (!db_take(pool, TAKE_TIMEOUT_MS, &db, err) || !shut_out(db, batch, err) ||
        (batch->count && !transaction_run(db, apply_batch, batch, err)))
        return false;
    settle_batch(batch);
    return true;
}

/* Of the whole process, as is the database. */
static struct combiner combiner = COMBINER_INIT;

/* What one of them fails with is none of the others' business, so each that is not settled then is
 * applied alone; but not when the database is what fails. */
static void apply_together(void *pool, struct combined *const combined[], size_t count)
{
    struct batch batch = {.count = count};
    struct error failure;
    for (size_t i = 0; i < count; i++)
        batch.items[i] = (struct item *)combined[i];
    if (run_batch(pool, &batch, &failure))
        return;
    log_debug("%zu results together: %s", count, failure.text);
    for (size_t i = 0; i < count && failure.code == ERROR_UNREACHABLE; i++) {
        struct item *item = (struct item *)combined[i];
        item->has_failed = true;
        item->failure = failure;
    }
}

/* Who is alone may wait for a lock, and has a connection meanwhile: so only few are at once. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t has_left;
    int inside;
} alone = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0};

/* Whatever keeps it from being settled, it is not taken for durable, so its host sends it again. */
static bool settle_alone(struct db_pool *pool, struct item *item, struct error *err)
{
    struct batch batch = {.items = {item}, .count = 1, .waits = true};
    return run_batch(pool, &batch, err) &&
           (item->is_settled || error_set(err, ERROR_TIMEOUT, "it is not free: send it again"));
}

static bool apply_alone(struct db_pool *pool, struct item *item, struct error *err)
{
    pthread_mutex_lock(&alone.lock);
    while (alone.inside == ALONE_MOST)
        pthread_cond_wait(&alone.has_left, &alone.lock);
    alone.inside++;
    pthread_mutex_unlock(&alone.lock);
    bool is_done = settle_alone(pool, item, err);
    pthread_mutex_lock(&alone.lock);
    alone.inside--;
    pthread_cond_signal(&alone.has_left);
    pthread_mutex_unlock(&alone.lock);
    return is_done;
}

static bool apply_item(struct db_pool *pool, struct item *item, struct error *err)
{
    combine(&combiner, &item->combined, apply_together, pool);
    if (!item->has_failed)
        return item->is_settled || apply_alone(pool, item, err);
    *err = item->failure;
    return false;
}

bool result_apply(struct db_pool *pool, const struct result *result, struct error *err)
{
    struct item item = {
        .result = result,
        .host = {.id = result->host, .generation = result->outdated},
        .step = {.host = result->host, .id = result->answer->step},
    };
    log_context_get(&item.log);
    bool is_done = apply_item(pool, &item, err);
    if (is_done && item.is_taken)
        tally_result(item.step.step.kind, result->answer->is_done, result->answer->pause_us);
    answered_step_done(&item.step);
    return is_done;
}
