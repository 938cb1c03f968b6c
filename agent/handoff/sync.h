/* Threads and waiting on the monotonic clock: no deadline moves when somebody sets the host's time.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* Aborts when there are no more threads: like memory, their number is capped by what is accepted.
 */
void sync_start_thread(pthread_t *thread, void *(*run)(void *), void *context);
void sync_init_condition(pthread_cond_t *condition);
/* Waits for a broadcast until the monotonic millisecond `deadline_ms`; false when it has come. */
bool sync_wait_until(pthread_cond_t *condition, pthread_mutex_t *mutex, int64_t deadline_ms);
