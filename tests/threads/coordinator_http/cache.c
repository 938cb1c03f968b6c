/* The cache of answers against changes at any moment: a reader that saw a change announced never
 * gets an answer from before it, and every answer is freed once. */
#include "base/clock.h"
#include "base/memory.h"
#include "coordinator/http/answer_cache.h"
#include "coordinator/http/token_cache.h"
#include "tests/threads/check.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { READERS = 4, OBJECTS = 8, RUN_MS = 2000, BYTES = 4096 };

static struct freshness *freshness;
static struct answer_cache *cache;
static struct token_cache *tokens;
static _Atomic int stored[OBJECTS]; /* what the database holds */
static _Atomic int told[OBJECTS];   /* up to where changes were told */
static _Atomic int from_memory, from_database;
static _Atomic bool is_over;

static void topic_of(int object, char out[32])
{
    snprintf(out, 32, "object %d", object);
}

/* Asks the "database" and keeps what it says, with all the time in the world in between. */
static int read_and_keep(int object, const char *key)
{
    char topic[32], body[32];
    uint64_t generation = freshness_generation(freshness);
    int value = atomic_load(&stored[object]);
    struct freshness_mark mark;
    freshness_mark(&mark, generation);
    topic_of(object, topic);
    freshness_mark_topic(&mark, topic);
    snprintf(body, sizeof body, "%d", value);
    struct kept_answer *answer =
        kept_answer_new(memory_copy_text(body), "", &mark, clock_monotonic_ms() + 5);
    answer_cache_keep(cache, key, answer);
    kept_answer_free(answer);
    return value;
}

static void *read_all(void *context)
{
    unsigned seed = (unsigned)(uintptr_t)context;
    char hash[65];
    memset(hash, 'a', 64);
    hash[64] = '\0';
    while (!atomic_load(&is_over)) {
        int object = rand_r(&seed) % OBJECTS, value;
        char key[32];
        topic_of(object, key);
        int least = atomic_load(&told[object]);
        struct kept_answer *found = answer_cache_find(cache, key, clock_monotonic_ms());
        if (found) {
            value = atoi(found->body);
            atomic_fetch_add(&from_memory, 1);
        } else {
            value = read_and_keep(object, key);
            atomic_fetch_add(&from_database, 1);
        }
        kept_answer_free(found);
        CHECK(value >= least, "object %d: read %d after %d was told", object, value, least);
        struct token token = {.role = TOKEN_VIEWER};
        if (!token_cache_find(tokens, hash, clock_monotonic_ms(), &token))
            token_cache_keep(tokens, hash, &token, clock_monotonic_ms(),
                             freshness_generation(freshness));
    }
    return NULL;
}

static void *write_all(void *context)
{
    unsigned seed = 7;
    int64_t end_ms = clock_monotonic_ms() + RUN_MS;
    (void)context;
    for (int turn = 0; clock_monotonic_ms() < end_ms; turn++) {
        int object = rand_r(&seed) % OBJECTS;
        char topic[32];
        topic_of(object, topic);
        int value = atomic_fetch_add(&stored[object], 1) + 1;
        freshness_changed(freshness, turn % 50 ? topic : "");
        atomic_store(&told[object], value);
        if (turn % 10 == 0)
            freshness_heard(freshness, turn % 500 ? clock_monotonic_ms() : 0);
        if (turn % 64 == 0)
            freshness_changed(freshness, "token");
        clock_sleep_ms(turn % 3);
    }
    return NULL;
}

int main(void)
{
    pthread_t readers[READERS], writer;
    freshness = freshness_new();
    cache = answer_cache_new(freshness, BYTES);
    tokens = token_cache_new(freshness);
    freshness_heard(freshness, clock_monotonic_ms());
    for (uintptr_t i = 0; i < READERS; i++)
        CHECK(pthread_create(&readers[i], NULL, read_all, (void *)(i + 1)) == 0, "no thread");
    CHECK(pthread_create(&writer, NULL, write_all, NULL) == 0, "no thread");
    pthread_join(writer, NULL);
    atomic_store(&is_over, true);
    for (int i = 0; i < READERS; i++)
        pthread_join(readers[i], NULL);
    CHECK(answer_cache_bytes(cache) <= BYTES, "%zu bytes kept", answer_cache_bytes(cache));
    CHECK(from_memory > 0 && from_database > 0, "%d from memory, %d not", from_memory,
          from_database);
    token_cache_free(tokens);
    answer_cache_free(cache);
    freshness_free(freshness);
    printf("%d answers from memory, %d not\n", from_memory, from_database);
    return 0;
}
