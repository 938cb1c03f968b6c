/* Who may use the disk: mirror epochs only grow.
 *
 * A mirror of a higher epoch fences the older ones: from that moment their requests are refused;
 * those in flight are waited for, then the marks are cleared, then the new epoch is open. Without
 * the fence late bytes of an old connection would overwrite newer data. Each epoch has exactly one
 * mirror connection, ever, and copies are admitted only in the open epoch. */
#pragma once

#include "base/error.h"

#include <pthread.h>
#include <stdint.h>

struct epoch {
    pthread_mutex_t mutex; /* guards all below */
    pthread_cond_t changed;
    int64_t
        current;  /* the highest that a mirror asked for; at first one below the lowest allowed */
    int64_t open; /* requests of this one are let in, when it is also current; 0 = none */
    unsigned in_flight;
};

/* Mirror epochs must be at least `lowest` (>= 1). */
void epoch_init(struct epoch *epoch, int64_t lowest);
void epoch_done(struct epoch *epoch);
/* Takes number over as the current epoch; `reset` runs when nothing is in flight and nothing can
 * be. ERROR_REFUSED when it is not higher than the current one, or was itself overtaken. */
bool epoch_admit_mirror(struct epoch *epoch, int64_t number, void (*reset)(void *context),
                        void *context, struct error *err) must_check;
bool epoch_admit_copy(struct epoch *epoch, int64_t number, struct error *err) must_check;
/* Around each request. False: the epoch of this handle is over. */
bool epoch_enter(struct epoch *epoch, int64_t number) must_check;
void epoch_leave(struct epoch *epoch);
