/* Threads and waiting on the monotonic clock; see sync.h. */
#include "agent/handoff/sync.h"

#include "base/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void sync_start_thread(pthread_t *thread, void *(*run)(void *), void *context)
{
    int code = pthread_create(thread, NULL, run, context);
    if (code == 0)
        return;
    log_error("a thread could not be started: %s", strerror(code));
    abort();
}

void sync_init_condition(pthread_cond_t *condition)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(condition, &attributes);
    pthread_condattr_destroy(&attributes);
}

bool sync_wait_until(pthread_cond_t *condition, pthread_mutex_t *mutex, int64_t deadline_ms)
{
    struct timespec deadline = {.tv_sec = deadline_ms / 1000,
                                .tv_nsec = deadline_ms % 1000 * 1000000};
    return pthread_cond_timedwait(condition, mutex, &deadline) != ETIMEDOUT;
}
