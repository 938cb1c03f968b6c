/* Work that threads hand in while others are at it, done for many by one of them (flat combining:
 * Hendler, Incze, Shavit and Tzafrir, SPAA 2010; what databases call group commit). A thread that
 * comes alone does its own at once. */
#pragma once

#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stddef.h>

enum { COMBINE_MOST = 64 }; /* at once */

/* A part of what a thread hands in; zeroed before. */
struct combined {
    struct combined *next;
    sem_t woken; /* it is done, or its thread leads, or enough others have come */
    bool leads;
};

struct combiner {
    pthread_mutex_t lock; /* guards the rest */
    struct combined *first, *last;
    size_t waiting, before;     /* how many are in the list; were in the batch before */
    bool is_led;                /* a thread is at work, or about to begin */
    struct combined *gathering; /* of the thread that waits for more to come before it begins */
};
#define COMBINER_INIT                                                                              \
    {                                                                                              \
        .lock = PTHREAD_MUTEX_INITIALIZER                                                          \
    }

/* Called by the thread that leads, never by two at a time, with its own context; items[0] is its
 * own. What is read and written of an item during the call is the leader's. */
typedef void combined_work(void *context, struct combined *const items[], size_t count);

/* Returns when `work` was called with the item, by this thread or by another, in the order in which
 * they come. While there are fewer than in the batch before it waits for more, 2 ms at most. */
void combine(struct combiner *combiner, struct combined *item, combined_work *work, void *context);
