/* The scheduler: applies what agents report to migrations, one transaction an event, and sweeps for
 * timers: retries with backoff, hosts that went away, queued migrations that can start. Any number
 * of coordinators run it over one database. */
#pragma once

#include "base/error.h"

struct db_pool;
struct scheduler;

struct scheduler_config {
    int host_lost_after_s; /* a host that was silent for so long counts as lost */
};

/* Starts the sweep on a thread of its own. `wake_host` is called after a commit that gave a host
 * something to do; it may be called from any thread and must not block. */
bool scheduler_start(struct scheduler **out, struct db_pool *pool,
                     const struct scheduler_config *config,
                     void (*wake_host)(void *context, const char *host), void *context,
                     struct error *err) must_check;
/* Ends the sweep and frees; NULL is fine. */
void scheduler_stop(struct scheduler *scheduler);
