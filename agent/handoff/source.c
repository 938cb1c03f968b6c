/* The source's end of the handoff: one epoch from STREAMING to its verdict.
 *
 *   record      who runs the domain            what ends it
 *   STREAMING   the source, or nobody for      RELEASED, or ABANDONED after the domain was resumed
 *               the pause
 *   RELEASED    the destination or nobody;     a verdict of the destination, and nothing else
 *               never the source
 *   OWNED       the destination                clean-source
 *   ABANDONED   the source                     a later epoch */
#include "agent/handoff/source_state.h"

#include "agent/handoff/record.h"
#include "agent/handoff/sync.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "base/memory.h"

#include <inttypes.h>
#include <string.h>

enum {
    RESUME_LIMIT_MS = 30000, /* for a hypervisor that fails to resume the domain */
    RETRY_INTERVAL_MS = 200,
};

struct guest source_guest(const struct handoff_source *source)
{
    const struct handoff_environment *environment = &source->environment;
    return (struct guest){.driver = environment->driver,
                          .hypervisor = environment->hypervisor,
                          .journal = environment->journal,
                          .migration = source->spec->migration,
                          .domain = source->spec->domain};
}

/* -- waiting and flags */

/* Sleeps, shorter when a verdict came that is listened for; false when told to stop. */
static bool pause_unless_stopped(struct handoff_source *source, int ms, bool listens)
{
    int64_t deadline = clock_monotonic_ms() + ms;
    bool is_in_time = true;
    pthread_mutex_lock(&source->mutex);
    while (!source->is_stopping && !(listens && source->concluded != VERDICT_NONE) && is_in_time)
        is_in_time = sync_wait_until(&source->changed, &source->mutex, deadline);
    bool goes_on = !source->is_stopping;
    pthread_mutex_unlock(&source->mutex);
    return goes_on;
}

void source_set_phase(struct handoff_source *source, enum migration_phase phase)
{
    pthread_mutex_lock(&source->mutex);
    source->phase = phase;
    pthread_mutex_unlock(&source->mutex);
}

void handoff_source_cancel(struct handoff_source *source)
{
    struct error why;
    error_set(&why, ERROR_CANCELLED, "the handoff was cancelled");
    pthread_mutex_lock(&source->mutex);
    source->is_cancelled = source->is_cancelled || !source->is_released;
    if (source->outgoing && !source->is_released)
        outgoing_fail(source->outgoing, &why);
    pthread_cond_broadcast(&source->changed);
    pthread_mutex_unlock(&source->mutex);
}

void handoff_source_stop(struct handoff_source *source)
{
    handoff_source_cancel(source);
    pthread_mutex_lock(&source->mutex);
    source->is_stopping = source->is_released;
    pthread_cond_broadcast(&source->changed);
    pthread_mutex_unlock(&source->mutex);
}

void handoff_source_conclude(struct handoff_source *source, int64_t epoch,
                             enum handoff_verdict verdict)
{
    struct error why;
    error_set(&why, ERROR_UNREACHABLE, "the destination abandoned the handoff");
    pthread_mutex_lock(&source->mutex);
    /* CHECK_VERDICT_OF_THIS_EPOCH */
    bool is_ours = epoch == source->epoch;
    if (is_ours && source->is_released && source->concluded == VERDICT_NONE)
        source->concluded = verdict;
    if (is_ours && !source->is_released && verdict == VERDICT_ABANDONED) {
        source->is_deserted = true;
        if (source->outgoing)
            outgoing_fail(source->outgoing, &why);
    }
    pthread_cond_broadcast(&source->changed);
    pthread_mutex_unlock(&source->mutex);
}

/* -- the record */

static bool put_record(struct handoff_source *source, enum handoff_state state, struct error *err)
{
    return record_put(&source->environment, source->spec, ROLE_SOURCE, source->epoch, state, err);
}

/* A verdict must get into the journal, even when its disk is full for a while. False: told to stop.
 */
static bool put_verdict(struct handoff_source *source, enum handoff_state state, struct error *err)
{
    bool is_logged = false;
    while (!put_record(source, state, err)) {
        if (err->code == ERROR_REFUSED)
            return false;
        if (!is_logged)
            log_error("handoff: the verdict cannot be recorded, trying again: %s", err->text);
        is_logged = true;
        if (!pause_unless_stopped(source, RETRY_INTERVAL_MS, false))
            return false;
    }
    return true;
}

/* -- before RELEASED: any failure ends with the domain running here */

/* A guest that has ended by itself has nothing to be resumed. */
static bool has_guest_ended(const struct handoff_source *source, struct error *err)
{
    const struct guest guest = source_guest(source);
    struct error why;
    if (guest_run_check(&guest, &why) || why.code != ERROR_GUEST_ENDED)
        return false;
    *err = why;
    return true;
}

static bool resume_domain(struct handoff_source *source, struct error *err)
{
    int64_t deadline = clock_monotonic_ms() + RESUME_LIMIT_MS;
    while (!source->environment.driver->resume(source->environment.hypervisor, source->spec->domain,
                                               err)) {
        if (has_guest_ended(source, err) || err->code == ERROR_NOT_FOUND ||
            clock_monotonic_ms() >= deadline)
            return error_prefix(err, "resuming the domain");
        clock_sleep_ms(RETRY_INTERVAL_MS);
    }
    return true;
}

/* A domain that cannot be resumed is what the operator must hear of first. */
static void resume_or_explain(struct handoff_source *source, struct error *why)
{
    struct error err;
    if (resume_domain(source, &err))
        return;
    log_error("handoff: %s, after: %s", err.text, why->text);
    *why = err;
}

static void set_abandoned(const struct error *why, struct step_result *result)
{
    result->is_done = false;
    result->verdict = VERDICT_ABANDONED;
    result->error = why->code;
    snprintf(result->error_text, sizeof result->error_text, "%s", why->text);
    result->pause_us = 0;
}

/* GO was never said in this epoch: the destination cannot run the domain, so it runs here again at
 * once, and the record follows. Not even a journal that fails changes that. A guest that ended by
 * itself is what went wrong, whatever was seen first. */
static void give_up(struct handoff_source *source, struct error *why, bool is_suspended,
                    struct step_result *result)
{
    const struct guest guest = source_guest(source);
    struct error err;
    if (is_suspended)
        resume_or_explain(source, why);
    guest_run_explain(&guest, why);
    source_set_phase(source, PHASE_MIRRORED);
    if (!put_record(source, HANDOFF_ABANDONED, &err))
        log_error("handoff: the end of epoch %" PRId64 " cannot be recorded: %s", source->epoch,
                  err.text);
    set_abandoned(why, result);
}

/* -- from RELEASED on: only a verdict of this epoch ends it */

static bool end_owned(struct handoff_source *source, struct step_result *result, struct error *err)
{
    if (!put_verdict(source, HANDOFF_OWNED, err))
        return false;
    source_set_phase(source, PHASE_CLEANING);
    result->is_done = true;
    result->verdict = VERDICT_OWNED;
    result->pause_us = source->pause_us;
    return true;
}

/* CHECK_SOURCE_ABANDONED_DURABLE_BEFORE_RESUME: what runs here is never on record as given away. */
static bool end_abandoned(struct handoff_source *source, struct error *why,
                          struct step_result *result, struct error *err)
{
    if (!put_verdict(source, HANDOFF_ABANDONED, err))
        return false;
    resume_or_explain(source, why);
    source_set_phase(source, PHASE_MIRRORED);
    set_abandoned(why, result);
    return true;
}

static enum handoff_verdict concluded(struct handoff_source *source)
{
    pthread_mutex_lock(&source->mutex);
    enum handoff_verdict verdict = source->concluded;
    pthread_mutex_unlock(&source->mutex);
    return verdict;
}

/* CHECK_RELEASED_LEARNS_VERDICT: asks the destination, with backoff, and listens to the
 * coordinator, for as long as it takes. */
static enum handoff_verdict learn_verdict(struct handoff_source *source)
{
    int backoff_ms = ASK_FIRST_MS;
    bool goes_on = true;
    enum handoff_verdict verdict = concluded(source);
    while (verdict == VERDICT_NONE && goes_on) {
        struct error err;
        if (!verdict_ask(&source->environment, source->spec, source->epoch, &verdict, &err)) {
            log_info("handoff: epoch %" PRId64 " is released, its verdict unknown: %s",
                     source->epoch, err.text);
            goes_on = pause_unless_stopped(source, backoff_ms, true);
            verdict = concluded(source);
        }
        backoff_ms = backoff_ms * 2 < ASK_LAST_MS ? backoff_ms * 2 : ASK_LAST_MS;
    }
    return verdict;
}

/* *why: what ended the stream, or nothing known. */
static bool end_released(struct handoff_source *source, enum handoff_verdict verdict,
                         struct error *why, struct step_result *result, struct error *err)
{
    pthread_mutex_lock(&source->mutex);
    source->is_released = true;
    source->phase = PHASE_RELEASED;
    pthread_mutex_unlock(&source->mutex);
    if (verdict == VERDICT_NONE)
        verdict = learn_verdict(source);
    if (verdict == VERDICT_OWNED)
        return end_owned(source, result, err);
    if (verdict == VERDICT_ABANDONED)
        return end_abandoned(source, why, result, err);
    return error_set(err, ERROR_CANCELLED,
                     "the agent ends while epoch %" PRId64 " is released and undecided",
                     source->epoch);
}

/* -- a run */

/* The point of no return: from this record on the source runs the domain only after the
 * destination's verdict ABANDONED. CHECK_CANCEL_ONLY_BEFORE_RELEASED: under the mutex, so that a
 * cancel is either before it and counts, or after it and does not. */
static bool pass_point_of_no_return(struct handoff_source *source, struct error *err)
{
    if (!failpoint("handoff.before-released", err))
        return false;
    pthread_mutex_lock(&source->mutex);
    source->is_released = !source->is_cancelled && !outgoing_has_failed(source->outgoing);
    bool is_released = source->is_released;
    pthread_mutex_unlock(&source->mutex);
    if (!is_released) {
        error_set(err, ERROR_CANCELLED, "the handoff was cancelled");
        return outgoing_failure(source->outgoing, err);
    }
    /* The one fsync of the source inside the pause. */
    if (put_record(source, HANDOFF_RELEASED, err))
        return true;
    pthread_mutex_lock(&source->mutex);
    source->is_released = false; /* GO was not said: whatever got on the disk, it can be undone */
    pthread_mutex_unlock(&source->mutex);
    return false;
}

/* CHECK_SOURCE_RELEASED_DURABLE_BEFORE_GO. *why: what ended the stream when RUNNING did not come.
 */
static enum handoff_verdict say_go(struct handoff_source *source, struct error *why)
{
    failpoint_pass("handoff.released");
    source_set_phase(source, PHASE_RELEASED);
    bool is_running = outgoing_send(source->outgoing, FRAME_GO, NULL, 0, why);
    failpoint_pass("handoff.go-sent");
    is_running = is_running && outgoing_wait(source->outgoing, FRAME_RUNNING,
                                             source->environment.go_limit_ms, why);
    if (!is_running)
        return outgoing_was_abandoned(source->outgoing) ? VERDICT_ABANDONED : VERDICT_NONE;
    pthread_mutex_lock(&source->mutex);
    source->pause_us = clock_monotonic_us() - source->suspended_at_us;
    pthread_mutex_unlock(&source->mutex);
    return VERDICT_OWNED;
}

static bool run_epoch(struct handoff_source *source, struct step_result *result, struct error *err)
{
    struct error why = {.code = ERROR_INTERNAL};
    enum handoff_verdict verdict = VERDICT_NONE;
    bool is_suspended = false;
    bool is_released =
        source_stream(source, &is_suspended, &why) && pass_point_of_no_return(source, &why);
    if (is_released)
        verdict = say_go(source, &why);
    else
        give_up(source, &why, is_suspended, result);
    /* The stream is ended before anything is asked: a GO that is still on its way is either read
     * first or refused. */
    source_close_stream(source);
    if (!is_released)
        return true;
    return end_released(source, verdict, &why, result, err);
}

/* After a crash, or when the step is run again. CHECK_RESTART_RESUMES_STREAMING,
 * CHECK_SOURCE_NEVER_RESUMES_IN_RELEASED. */
static bool run_again(struct handoff_source *source, enum handoff_state state,
                      struct step_result *result, struct error *err)
{
    struct error why;
    error_set(&why, ERROR_UNREACHABLE, "the source's agent ended during the handoff");
    switch (state) {
    case HANDOFF_RELEASED:
        error_set(&why, ERROR_UNREACHABLE, "the destination abandoned the released epoch");
        return end_released(source, VERDICT_NONE, &why, result, err);
    case HANDOFF_OWNED:
        result->is_done = true;
        result->verdict = VERDICT_OWNED;
        return true;
    default:
        give_up(source, &why, true, result);
        return true;
    }
}

bool handoff_source_run(struct handoff_source *source, struct step_result *result,
                        struct error *err)
{
    struct error why;
    memcpy(result->step, source->step, sizeof result->step);
    if (source->begun != HANDOFF_NONE)
        return run_again(source, source->begun, result, err);
    if (!put_record(source, HANDOFF_STREAMING, &why) ||
        !failpoint("handoff.source-streaming", &why)) {
        give_up(source, &why, false, result);
        return true;
    }
    return run_epoch(source, result, err);
}

/* -- open and close */

/* CHECK_SOURCE_FINISHES_BEFORE_NEXT_EPOCH: the journal's door refuses it too. */
static bool check_open(const struct handoff_record *record, int64_t epoch, struct error *err)
{
    bool is_finished = record->state == HANDOFF_NONE || record->state == HANDOFF_ABANDONED;
    if (record->epoch == epoch || (record->epoch < epoch && is_finished))
        return true;
    return error_set(err, record->epoch > epoch ? ERROR_REFUSED : ERROR_CONFLICT,
                     "handoff epoch %" PRId64 ": the source is %s of epoch %" PRId64, epoch,
                     handoff_state_names[record->state], record->epoch);
}

bool handoff_source_open(struct handoff_source **out, const struct handoff_environment *environment,
                         const struct step *step, struct transfer *transfer, struct error *err)
{
    struct handoff_record record;
    if (!record_get(environment, &step->spec, ROLE_SOURCE, &record, err) ||
        !check_open(&record, step->epoch, err))
        return false;
    struct handoff_source *source = memory_alloc(sizeof *source);
    source->environment = *environment;
    source->spec = &step->spec;
    source->epoch = step->epoch;
    memcpy(source->step, step->id, sizeof source->step);
    source->transfer = transfer;
    source->begun = record.epoch == step->epoch ? record.state : HANDOFF_NONE;
    source->is_released = source->begun == HANDOFF_RELEASED;
    source->phase = PHASE_MIRRORED;
    pthread_mutex_init(&source->mutex, NULL);
    sync_init_condition(&source->changed);
    *out = source;
    return true;
}

void handoff_source_progress(struct handoff_source *source, struct migration_progress *out)
{
    pthread_mutex_lock(&source->mutex);
    out->phase = source->phase;
    out->memory = source->memory;
    out->pause_us = source->pause_us;
    if (source->phase == PHASE_RELEASED)
        snprintf(out->waits_for, sizeof out->waits_for,
                 "the destination's verdict on epoch %" PRId64, source->epoch);
    pthread_mutex_unlock(&source->mutex);
}

void handoff_source_close(struct handoff_source *source)
{
    if (!source)
        return;
    source_close_stream(source);
    pthread_cond_destroy(&source->changed);
    pthread_mutex_destroy(&source->mutex);
    free(source);
}
