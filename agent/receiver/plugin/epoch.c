/* Admission by mirror epoch; see epoch.h. */
#include "agent/receiver/plugin/epoch.h"

#include "agent/receiver/plugin/breakage.h"

#include <inttypes.h>

void epoch_init(struct epoch *epoch, int64_t lowest)
{
    *epoch = (struct epoch){.current = lowest - 1};
    pthread_mutex_init(&epoch->mutex, NULL);
    pthread_cond_init(&epoch->changed, NULL);
}

void epoch_done(struct epoch *epoch)
{
    pthread_cond_destroy(&epoch->changed);
    pthread_mutex_destroy(&epoch->mutex);
}

/* With the mutex held. */
static bool take_over(struct epoch *epoch, int64_t number, struct error *err)
{
    if (number <= epoch->current)
        return error_set(err, ERROR_REFUSED,
                         "mirror epoch %" PRId64 " is over: expected one above %" PRId64, number,
                         epoch->current);
    epoch->current = number;
    pthread_cond_broadcast(&epoch->changed); /* a lower one that still waits gives up */
    while (epoch->in_flight && epoch->current == number && !breakage_is(BREAKAGE_FENCE))
        pthread_cond_wait(&epoch->changed, &epoch->mutex);
    if (epoch->current != number)
        return error_set(err, ERROR_REFUSED, "mirror epoch %" PRId64 " was overtaken by %" PRId64,
                         number, epoch->current);
    return true;
}

bool epoch_admit_mirror(struct epoch *epoch, int64_t number, void (*reset)(void *context),
                        void *context, struct error *err)
{
    pthread_mutex_lock(&epoch->mutex);
    bool is_mine = take_over(epoch, number, err);
    if (is_mine) {
        reset(context);
        epoch->open = number;
    }
    pthread_mutex_unlock(&epoch->mutex);
    return is_mine;
}

/* With the mutex held. */
static bool is_open(const struct epoch *epoch, int64_t number)
{
    return epoch->open && number == epoch->open && number == epoch->current;
}

bool epoch_admit_copy(struct epoch *epoch, int64_t number, struct error *err)
{
    pthread_mutex_lock(&epoch->mutex);
    bool is_fine = is_open(epoch, number);
    int64_t open = epoch->open;
    pthread_mutex_unlock(&epoch->mutex);
    if (!is_fine)
        return error_set(err, ERROR_REFUSED,
                         "copy of epoch %" PRId64 ": expected the mirrored epoch (%" PRId64 ")",
                         number, open);
    return true;
}

bool epoch_enter(struct epoch *epoch, int64_t number)
{
    pthread_mutex_lock(&epoch->mutex);
    bool is_fine = is_open(epoch, number) || breakage_is(BREAKAGE_FENCE);
    if (is_fine)
        epoch->in_flight++;
    pthread_mutex_unlock(&epoch->mutex);
    return is_fine;
}

void epoch_leave(struct epoch *epoch)
{
    pthread_mutex_lock(&epoch->mutex);
    if (--epoch->in_flight == 0)
        pthread_cond_broadcast(&epoch->changed);
    pthread_mutex_unlock(&epoch->mutex);
}
