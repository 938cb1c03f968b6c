/* How an epoch is decided at the destination: GO makes it OWNED, everything else ABANDONED, and the
 * journal's door lets exactly one of them in. */
#include "agent/handoff/destination_state.h"

#include "agent/handoff/record.h"
#include "agent/handoff/sync.h"
#include "base/clock.h"
#include "base/failpoint.h"

#include <inttypes.h>

enum {
    SETTLE_LIMIT_MS = 60000, /* for a journal that cannot be written */
    LATE_GO_MS = 1000,       /* for a GO that is still to be read when its source asks already */
};

int64_t destination_epoch(const struct handoff_destination *destination)
{
    return destination->epoch;
}

void destination_fail(struct handoff_destination *destination, const struct error *why)
{
    pthread_mutex_lock(&destination->mutex);
    if (!destination->has_reason && destination->verdict == VERDICT_NONE)
        destination->reason = *why;
    destination->has_reason = true;
    pthread_cond_broadcast(&destination->changed);
    pthread_mutex_unlock(&destination->mutex);
}

void destination_advance(struct handoff_destination *destination, enum receive_phase phase)
{
    pthread_mutex_lock(&destination->mutex);
    if (phase > destination->phase)
        destination->phase = phase;
    destination->progress_ms = clock_monotonic_ms();
    pthread_mutex_unlock(&destination->mutex);
}

/* -- GO */

/* CHECK_GO_OF_THIS_EPOCH: the stream is this epoch's. CHECK_REFUSE_GO_AFTER_ABANDON: what is
 * abandoned in memory is refused here, what is abandoned in the journal by its door. */
static bool begin_go(struct handoff_destination *destination, struct error *err)
{
    pthread_mutex_lock(&destination->mutex);
    bool may_go = destination->phase == RECEIVE_PREPARED && !destination->has_reason &&
                  destination->verdict == VERDICT_NONE;
    destination->is_going = may_go;
    pthread_mutex_unlock(&destination->mutex);
    return may_go ||
           error_set(err, ERROR_REFUSED,
                     "GO does not count: epoch %" PRId64 " is not prepared or was given up",
                     destination->epoch);
}

static void end_go(struct handoff_destination *destination, bool is_owned, bool is_unpaused)
{
    pthread_mutex_lock(&destination->mutex);
    if (is_owned)
        destination->verdict = VERDICT_OWNED;
    destination->is_unpaused = is_unpaused;
    destination->is_going = false;
    pthread_cond_broadcast(&destination->changed);
    pthread_mutex_unlock(&destination->mutex);
}

static bool record_owned(struct handoff_destination *destination, struct error *err)
{
    /* The one fsync of the destination inside the pause. */
    return failpoint("handoff.before-owned", err) &&
           record_put(&destination->environment, destination->spec, ROLE_DESTINATION,
                      destination->epoch, HANDOFF_OWNED, err);
}

bool destination_go(struct handoff_destination *destination, struct error *err)
{
    const struct handoff_environment *environment = &destination->environment;
    bool is_unpaused = false;
    if (!begin_go(destination, err))
        return false;
    bool is_owned = record_owned(destination, err);
    if (is_owned) {
        failpoint_pass("handoff.owned");
        is_unpaused =
            environment->driver->unpause(environment->hypervisor, destination->spec->domain, err);
        failpoint_pass("handoff.unpaused");
    }
    end_go(destination, is_owned, is_unpaused);
    return is_unpaused;
}

/* -- the verdict */

bool destination_settle(struct handoff_destination *destination, enum handoff_verdict *verdict,
                        struct error *err)
{
    enum handoff_verdict found = VERDICT_NONE;
    if (!record_settle(&destination->environment, destination->spec, destination->epoch,
                       SETTLE_LIMIT_MS, &found, err))
        return false;
    pthread_mutex_lock(&destination->mutex);
    while (destination->is_going)
        pthread_cond_wait(&destination->changed, &destination->mutex);
    destination->verdict = found;
    pthread_cond_broadcast(&destination->changed);
    pthread_mutex_unlock(&destination->mutex);
    *verdict = found;
    return true;
}

bool destination_settle_for_source(struct handoff_destination *destination,
                                   enum handoff_verdict *verdict, struct error *err)
{
    int64_t deadline = clock_monotonic_ms() + LATE_GO_MS;
    bool is_in_time = true;
    pthread_mutex_lock(&destination->mutex);
    while (destination->verdict == VERDICT_NONE && !destination->has_reason && is_in_time)
        is_in_time = sync_wait_until(&destination->changed, &destination->mutex, deadline);
    pthread_mutex_unlock(&destination->mutex);
    struct error why;
    error_set(&why, ERROR_UNREACHABLE, "the source lost the stream of epoch %" PRId64,
              destination->epoch);
    destination_fail(destination, &why);
    return destination_settle(destination, verdict, err);
}
