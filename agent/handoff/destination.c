/* The destination's end of the handoff: one epoch from STREAMING to its verdict.
 *
 *   record      the domain here                what ends it
 *   STREAMING   none, or being built           PREPARED or ABANDONED
 *   PREPARED    paused                         OWNED when GO comes first, else ABANDONED
 *   OWNED       runs, or is being unpaused     nothing
 *   ABANDONED   none, or being destroyed       a later epoch
 *
 * handoff_destination_run waits, keeps the deadlines and brings the domain to what the verdict
 * says; the stream's thread only records OWNED and unpauses, because that is in the pause. */
#include "agent/handoff/destination_state.h"

#include "agent/handoff/outgoing.h"
#include "agent/handoff/record.h"
#include "agent/handoff/sync.h"
#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "base/memory.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    ACT_LIMIT_MS = 60000, /* for a hypervisor that fails to destroy or to unpause */
    ACT_INTERVAL_MS = 200,
    LATE_GO_MS = 1000, /* for a GO that is still to be read when its source asks already */
    GOODBYE_MS = 2000, /* for the source to read FAILED and to close */
};

void handoff_destination_cancel(struct handoff_destination *destination)
{
    struct error why;
    error_set(&why, ERROR_CANCELLED, "the handoff was cancelled at the destination");
    destination_fail(destination, &why);
}

/* -- waiting for it */

/* With the mutex held. */
static bool is_overdue(const struct handoff_destination *destination, struct error *why)
{
    const struct handoff_environment *environment = &destination->environment;
    int64_t waited_ms = clock_monotonic_ms() - destination->progress_ms;
    if (destination->phase == RECEIVE_PREPARED)
        return waited_ms >= environment->go_limit_ms &&
               !error_set(why, ERROR_TIMEOUT, "the source said no GO within %d ms",
                          environment->go_limit_ms);
    return waited_ms >= environment->restore_limit_ms &&
           !error_set(why, ERROR_TIMEOUT, "the domain's stream did not go on for %d ms",
                      environment->restore_limit_ms);
}

/* Until there is a verdict or a reason to abandon. Meanwhile the source hears that we live. */
static void wait_for_end(struct handoff_destination *destination)
{
    struct error why;
    pthread_mutex_lock(&destination->mutex);
    while (!destination->has_reason && destination->verdict == VERDICT_NONE &&
           !is_overdue(destination, &why)) {
        pthread_mutex_unlock(&destination->mutex);
        struct error ignored; /* the thread that reads the stream notices its end */
        bool is_said = incoming_say(destination, FRAME_ALIVE, NULL, 0, &ignored);
        (void)is_said;
        int64_t next_ms = clock_monotonic_ms() + ALIVE_INTERVAL_MS;
        bool is_early = true;
        pthread_mutex_lock(&destination->mutex);
        while (!destination->has_reason && destination->verdict == VERDICT_NONE && is_early)
            is_early = sync_wait_until(&destination->changed, &destination->mutex, next_ms);
    }
    bool is_over = destination->has_reason || destination->verdict != VERDICT_NONE;
    pthread_mutex_unlock(&destination->mutex);
    if (!is_over)
        destination_fail(destination, &why);
}

/* -- acting on it */

static bool wait_for_stream_end(struct handoff_destination *destination, int timeout_ms)
{
    int64_t deadline = clock_monotonic_ms() + timeout_ms;
    bool is_in_time = true;
    pthread_mutex_lock(&destination->mutex);
    while (destination->is_serving && is_in_time)
        is_in_time = sync_wait_until(&destination->changed, &destination->mutex, deadline);
    bool has_ended = !destination->is_serving;
    pthread_mutex_unlock(&destination->mutex);
    return has_ended;
}

/* Ends the stream: the source reads the last answer and closes, or is cut off. */
static void end_stream(struct handoff_destination *destination)
{
    if (wait_for_stream_end(destination, GOODBYE_MS))
        return;
    pthread_mutex_lock(&destination->mutex);
    if (destination->stream)
        link_shutdown(destination->stream);
    while (destination->is_serving)
        pthread_cond_wait(&destination->changed, &destination->mutex);
    pthread_mutex_unlock(&destination->mutex);
}

/* FAILED is a verdict: only after ABANDONED is durable (CHECK_ABANDON_DURABLE_BEFORE_ANSWER). */
static void say_failed(struct handoff_destination *destination, const struct error *reason)
{
    char payload[FRAME_FAILURE_LIMIT];
    struct error ignored; /* a source that does not hear it asks */
    size_t size = frame_encode_failure(reason, payload);
    bool is_said = incoming_say(destination, FRAME_FAILED, payload, size, &ignored);
    (void)is_said;
}

/* CHECK_DESTROY_BEFORE_REOPEN: the mirrors come back only when nothing else holds the images. */
static bool undo_once(struct handoff_destination *destination, struct error *err)
{
    const struct handoff_environment *environment = &destination->environment;
    const struct migration_spec *spec = destination->spec;
    if (!built_destroy(environment, spec, err))
        return error_prefix(err, "destroying the half-built domain");
    /* After a restart an undecided migration is admitted only here. */
    return spec->disks.count == 0 ||
           (receiver_admit(environment->receivers, spec, err) &&
            receiver_reopen(environment->receivers, spec->migration, err));
}

static bool own_once(struct handoff_destination *destination, struct error *err)
{
    const struct handoff_environment *environment = &destination->environment;
    const char *domain = destination->spec->domain;
    pthread_mutex_lock(&destination->mutex);
    bool is_unpaused = destination->is_unpaused;
    pthread_mutex_unlock(&destination->mutex);
    return is_unpaused || environment->driver->unpause(environment->hypervisor, domain, err);
}

/* Repeats what a hypervisor may refuse for a while. */
static bool act(struct handoff_destination *destination,
                bool (*once)(struct handoff_destination *, struct error *), struct error *err)
{
    int64_t deadline = clock_monotonic_ms() + ACT_LIMIT_MS;
    while (!once(destination, err)) {
        if (err->code == ERROR_NOT_FOUND || clock_monotonic_ms() >= deadline)
            return false;
        clock_sleep_ms(ACT_INTERVAL_MS);
    }
    return true;
}

static bool end_abandoned(struct handoff_destination *destination, struct step_result *result,
                          struct error *err)
{
    pthread_mutex_lock(&destination->mutex);
    struct error reason = destination->reason;
    pthread_mutex_unlock(&destination->mutex);
    result->is_done = false;
    result->verdict = VERDICT_ABANDONED;
    say_failed(destination, &reason);
    end_stream(destination);
    if (!act(destination, undo_once, err))
        return false;
    result->error = reason.code;
    snprintf(result->error_text, sizeof result->error_text, "%s", reason.text);
    return true;
}

/* CHECK_RESTART_UNPAUSES_OWNED. The domain is this host's whatever fails now: a domain that is gone
 * died with its host, like any other here. */
static void end_owned(struct handoff_destination *destination, struct step_result *result)
{
    const struct handoff_environment *environment = &destination->environment;
    struct error err;
    if (!act(destination, own_once, &err))
        log_error("handoff: the domain is owned here and does not run: %s", err.text);
    else if (!environment->driver->announce(environment->hypervisor, destination->spec->domain,
                                            &err))
        log_warning("handoff: the domain runs, its addresses were not announced: %s", err.text);
    end_stream(destination);
    if (environment->driver->adopt)
        environment->driver->adopt(environment->hypervisor, destination->spec->domain);
    /* clean-destination does both again where they fail. */
    if (!built_keep(environment, destination->spec, &err))
        log_warning("handoff: %s", err.text);
    result->is_done = true;
    result->verdict = VERDICT_OWNED;
}

bool handoff_destination_run(struct handoff_destination *destination, struct step_result *result,
                             struct error *err)
{
    enum handoff_verdict verdict = VERDICT_NONE;
    memcpy(result->step, destination->step, sizeof result->step);
    wait_for_end(destination);
    if (!destination_settle(destination, &verdict, err))
        return false;
    if (verdict == VERDICT_ABANDONED)
        return end_abandoned(destination, result, err);
    end_owned(destination, result);
    return true;
}

/* -- the stream comes */

static bool check_stream(const struct handoff_destination *destination, const char *peer_host,
                         const struct link_hello *hello, struct error *err)
{
    if (strcmp(peer_host, destination->spec->source.id) != 0)
        return error_set(err, ERROR_REFUSED, "host %s is not the source of this migration",
                         peer_host);
    if (hello->epoch > destination->epoch) /* its step is on the way */
        return error_set(err, ERROR_UNREACHABLE, "epoch %" PRId64 " has not begun here yet",
                         hello->epoch);
    if (hello->epoch < destination->epoch)
        return error_set(err, ERROR_REFUSED, "epoch %" PRId64 " is over, it is %" PRId64,
                         hello->epoch, destination->epoch);
    return true;
}

static bool take_stream(struct handoff_destination *destination, struct error *err)
{
    pthread_mutex_lock(&destination->mutex);
    bool is_open = !destination->had_stream && !destination->has_reason &&
                   destination->verdict == VERDICT_NONE;
    if (is_open)
        destination->had_stream = destination->is_serving = true;
    pthread_mutex_unlock(&destination->mutex);
    return is_open ||
           error_set(err, ERROR_REFUSED, "epoch %" PRId64 " had its stream already or was given up",
                     destination->epoch);
}

/* From the first call to the one with NULL others may write to the stream and shut it down. Returns
 * whether it is still wanted. */
static bool publish_stream(struct handoff_destination *destination, struct link_stream *stream)
{
    pthread_mutex_lock(&destination->write_mutex);
    pthread_mutex_lock(&destination->mutex);
    destination->stream = stream;
    bool is_wanted = !destination->has_reason && destination->verdict == VERDICT_NONE;
    pthread_mutex_unlock(&destination->mutex);
    pthread_mutex_unlock(&destination->write_mutex);
    return is_wanted;
}

static void end_serving(struct handoff_destination *destination)
{
    pthread_mutex_lock(&destination->mutex);
    destination->is_serving = false;
    pthread_cond_broadcast(&destination->changed);
    pthread_mutex_unlock(&destination->mutex);
}

void handoff_destination_serve(struct handoff_destination *destination, struct link_stream *stream,
                               const char *peer_host, const struct link_hello *hello)
{
    struct error err;
    if (!check_stream(destination, peer_host, hello, &err) || !take_stream(destination, &err)) {
        link_refuse(stream, &err);
        link_close(stream);
        return;
    }
    if (!link_accept(stream, &err))
        destination_fail(destination, &err);
    else if (publish_stream(destination, stream))
        incoming_serve(destination, stream);
    publish_stream(destination, NULL);
    link_close(stream);
    end_serving(destination);
}

/* -- open and close */

/* CHECK_RECEIVE_REFUSES_PRESENT_DOMAIN */
static bool check_absent(const struct handoff_environment *environment,
                         const struct migration_spec *spec, struct error *err)
{
    __attribute__((cleanup(domain_list_done))) struct domain_list domains = {0};
    if (!environment->driver->list(environment->hypervisor, &domains, err))
        return false;
    for (size_t i = 0; i < domains.count; i++)
        if (strcmp(domains.items[i].uuid, spec->domain) == 0)
            return error_set(err, ERROR_CONFLICT, "domain %s is on this host already",
                             spec->domain);
    return true;
}

/* CHECK_NEXT_EPOCH_ABANDONS_FIRST: what an earlier epoch left is undone before this one begins. */
static bool finish_earlier(struct handoff_destination *destination,
                           const struct handoff_record *record, struct error *err)
{
    const struct handoff_environment *environment = &destination->environment;
    enum handoff_verdict verdict = VERDICT_ABANDONED;
    if (record->state == HANDOFF_NONE)
        return true;
    if (record_verdict(record) == VERDICT_NONE &&
        !record_settle(environment, destination->spec, record->epoch, 0, &verdict, err))
        return false;
    return undo_once(destination, err);
}

/* CHECK_EPOCH_MONOTONE, CHECK_FINISHED_EPOCH_STAYS_FINISHED, CHECK_OWNED_IS_FINAL; the journal's
 * door says the same. An epoch that is in the journal is only brought to its end again. */
static bool check_open(const struct handoff_record *record, int64_t epoch, struct error *err)
{
    if (record->epoch == epoch || (record->epoch < epoch && record->state != HANDOFF_OWNED))
        return true;
    return error_set(err, ERROR_REFUSED,
                     "handoff epoch %" PRId64 ": the destination is %s of epoch %" PRId64, epoch,
                     handoff_state_names[record->state], record->epoch);
}

static bool begin(struct handoff_destination *destination, const struct handoff_record *record,
                  struct error *err)
{
    const struct handoff_environment *environment = &destination->environment;
    const struct migration_spec *spec = destination->spec;
    return finish_earlier(destination, record, err) && check_absent(environment, spec, err) &&
           record_put(environment, spec, ROLE_DESTINATION, destination->epoch, HANDOFF_STREAMING,
                      err) &&
           failpoint("handoff.destination-streaming", err);
}

/* CHECK_RESTART_ABANDONS_UNDECIDED: there is no stream any more on which GO could come. */
static void begin_again(struct handoff_destination *destination)
{
    struct error why;
    error_set(&why, ERROR_UNREACHABLE, "the destination's agent ended during the handoff");
    destination_fail(destination, &why);
}

bool handoff_destination_open(struct handoff_destination **out,
                              const struct handoff_environment *environment,
                              const struct step *step, struct error *err)
{
    struct handoff_record record;
    if (!record_get(environment, &step->spec, ROLE_DESTINATION, &record, err) ||
        !check_open(&record, step->epoch, err))
        return false;
    struct handoff_destination *destination = memory_alloc(sizeof *destination);
    destination->environment = *environment;
    destination->spec = &step->spec;
    destination->epoch = step->epoch;
    memcpy(destination->step, step->id, sizeof destination->step);
    destination->begun = record.epoch == step->epoch ? record.state : HANDOFF_NONE;
    destination->progress_ms = clock_monotonic_ms();
    pthread_mutex_init(&destination->mutex, NULL);
    pthread_mutex_init(&destination->write_mutex, NULL);
    sync_init_condition(&destination->changed);
    if (destination->begun != HANDOFF_NONE) {
        begin_again(destination);
    } else if (!begin(destination, &record, err)) {
        handoff_destination_close(destination);
        return false;
    }
    *out = destination;
    return true;
}

void handoff_destination_close(struct handoff_destination *destination)
{
    if (!destination)
        return;
    end_stream(destination);
    pthread_cond_destroy(&destination->changed);
    pthread_mutex_destroy(&destination->write_mutex);
    pthread_mutex_destroy(&destination->mutex);
    free(destination);
}

bool handoff_abandon(const struct handoff_environment *environment,
                     const struct migration_spec *spec, struct error *err)
{
    struct handoff_record record;
    enum handoff_verdict verdict = VERDICT_ABANDONED;
    if (!record_get(environment, spec, ROLE_DESTINATION, &record, err))
        return false;
    if (record.state != HANDOFF_NONE &&
        !record_settle(environment, spec, record.epoch, 0, &verdict, err))
        return false;
    if (verdict == VERDICT_OWNED) /* CHECK_NEVER_ABANDON_OWNED */
        return error_set(err, ERROR_CONFLICT, "the domain is owned here: its handoff is committed");
    /* CHECK_DESTROY_ONLY_WHAT_IT_BUILT */
    return built_destroy(environment, spec, err);
}
