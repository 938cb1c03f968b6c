/* A table of generations by topic; see freshness.h. Topics that share a slot cost one needless look
 * at the database, never a stale answer. */
#include "coordinator/http/freshness.h"

#include "base/fnv.h"
#include "base/memory.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { SLOTS = 4096 };

struct freshness {
    pthread_mutex_t lock;
    int64_t heard_ms;      /* 0: the listener is away */
    uint64_t generation;   /* counts changes, from 1 */
    uint64_t all;          /* generation of the last change of everything */
    uint64_t slots[SLOTS]; /* generation of the last change of a topic */
};

struct freshness *freshness_new(void)
{
    struct freshness *freshness = memory_alloc(sizeof *freshness);
    pthread_mutex_init(&freshness->lock, NULL);
    freshness->generation = 1;
    return freshness;
}

void freshness_free(struct freshness *freshness)
{
    if (!freshness)
        return;
    pthread_mutex_destroy(&freshness->lock);
    free(freshness);
}

uint64_t freshness_generation(struct freshness *freshness)
{
    pthread_mutex_lock(&freshness->lock);
    uint64_t generation = freshness->heard_ms ? freshness->generation : 0;
    pthread_mutex_unlock(&freshness->lock);
    return generation;
}

static uint16_t slot_of(const char *topic, size_t length)
{
    return (uint16_t)(fnv_hash(topic, length) % SLOTS);
}

void freshness_changed(struct freshness *freshness, const char *topic)
{
    size_t length = strlen(topic);
    pthread_mutex_lock(&freshness->lock);
    uint64_t generation = ++freshness->generation;
    if (length == 0)
        freshness->all = generation;
    freshness->slots[slot_of(topic, length)] = generation;
    freshness->slots[slot_of(topic, strcspn(topic, " "))] = generation;
    pthread_mutex_unlock(&freshness->lock);
}

void freshness_heard(struct freshness *freshness, int64_t until_ms)
{
    pthread_mutex_lock(&freshness->lock);
    if (!freshness->heard_ms) /* what was read meanwhile may be old */
        freshness->all = ++freshness->generation;
    freshness->heard_ms = until_ms;
    pthread_mutex_unlock(&freshness->lock);
}

void freshness_mark(struct freshness_mark *mark, uint64_t generation)
{
    *mark = (struct freshness_mark){.generation = generation};
}

void freshness_mark_topic(struct freshness_mark *mark, const char *topic)
{
    assert(mark->count < FRESHNESS_TOPICS);
    mark->slots[mark->count++] = slot_of(topic, strlen(topic));
}

bool freshness_holds(struct freshness *freshness, const struct freshness_mark *mark, int64_t now_ms)
{
    pthread_mutex_lock(&freshness->lock);
    bool holds = mark->generation && freshness->heard_ms &&
                 now_ms - freshness->heard_ms <= FRESHNESS_MS && freshness->all <= mark->generation;
    for (int i = 0; holds && i < mark->count; i++)
        holds = freshness->slots[mark->slots[i]] <= mark->generation;
    pthread_mutex_unlock(&freshness->lock);
    return holds;
}
