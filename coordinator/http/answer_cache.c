/* A hash table with a list by last use; see answer_cache.h. */
#include "coordinator/http/answer_cache.h"

#include "base/fnv.h"
#include "base/memory.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BUCKETS = 4096 };

/* What users see comes first. */
struct counted_answer {
    struct kept_answer answer;
    _Atomic int uses;
};

struct entry {
    char *key;
    size_t bytes; /* of everything that it keeps alive */
    struct counted_answer *counted;
    struct entry *next_in_bucket;
    struct entry *newer, *older;
};

struct answer_cache {
    struct freshness *freshness;
    size_t limit;
    pthread_mutex_t lock; /* guards everything below */
    size_t bytes;
    struct entry *newest, *oldest;
    struct entry *buckets[BUCKETS];
};

struct kept_answer *kept_answer_new(char *body, const char *etag, const struct freshness_mark *mark,
                                    int64_t until_ms)
{
    struct counted_answer *counted = memory_alloc(sizeof *counted);
    counted->answer = (struct kept_answer){
        .body = body, .size = strlen(body), .mark = *mark, .until_ms = until_ms};
    snprintf(counted->answer.etag, sizeof counted->answer.etag, "%s", etag);
    atomic_init(&counted->uses, 1);
    return &counted->answer;
}

void kept_answer_free(void *answer)
{
    struct counted_answer *counted = answer;
    if (!counted || atomic_fetch_sub(&counted->uses, 1) > 1)
        return;
    free(counted->answer.body);
    free(counted);
}

struct answer_cache *answer_cache_new(struct freshness *freshness, size_t bytes)
{
    struct answer_cache *cache = memory_alloc(sizeof *cache);
    cache->freshness = freshness;
    cache->limit = bytes;
    pthread_mutex_init(&cache->lock, NULL);
    return cache;
}

static struct entry **bucket_of(struct answer_cache *cache, const char *key)
{
    return &cache->buckets[fnv_hash(key, strlen(key)) % BUCKETS];
}

/* The place that points to the entry of this key, or to NULL. */
static struct entry **place_of(struct answer_cache *cache, const char *key)
{
    struct entry **place = bucket_of(cache, key);
    while (*place && strcmp((*place)->key, key) != 0)
        place = &(*place)->next_in_bucket;
    return place;
}

static void unlink_use(struct answer_cache *cache, struct entry *entry)
{
    *(entry->newer ? &entry->newer->older : &cache->newest) = entry->older;
    *(entry->older ? &entry->older->newer : &cache->oldest) = entry->newer;
    entry->newer = entry->older = NULL;
}

static void use(struct answer_cache *cache, struct entry *entry)
{
    entry->older = cache->newest;
    *(cache->newest ? &cache->newest->newer : &cache->oldest) = entry;
    cache->newest = entry;
}

static void drop(struct answer_cache *cache, struct entry **place)
{
    struct entry *entry = *place;
    assert(entry);
    *place = entry->next_in_bucket;
    unlink_use(cache, entry);
    cache->bytes -= entry->bytes;
    kept_answer_free(entry->counted);
    free(entry->key);
    free(entry);
}

void answer_cache_free(struct answer_cache *cache)
{
    if (!cache)
        return;
    while (cache->oldest)
        drop(cache, place_of(cache, cache->oldest->key));
    pthread_mutex_destroy(&cache->lock);
    free(cache);
}

static bool holds(struct answer_cache *cache, const struct kept_answer *answer, int64_t now_ms)
{
    return (!answer->until_ms || now_ms < answer->until_ms) &&
           freshness_holds(cache->freshness, &answer->mark, now_ms);
}

struct kept_answer *answer_cache_find(struct answer_cache *cache, const char *key, int64_t now_ms)
{
    struct kept_answer *found = NULL;
    pthread_mutex_lock(&cache->lock);
    struct entry **place = place_of(cache, key), *entry = *place;
    if (entry && holds(cache, &entry->counted->answer, now_ms)) {
        unlink_use(cache, entry);
        use(cache, entry);
        atomic_fetch_add(&entry->counted->uses, 1);
        found = &entry->counted->answer;
    } else if (entry) {
        drop(cache, place);
    }
    pthread_mutex_unlock(&cache->lock);
    return found;
}

void answer_cache_keep(struct answer_cache *cache, const char *key, struct kept_answer *answer)
{
    struct entry *entry = memory_alloc(sizeof *entry);
    entry->key = memory_copy_text(key);
    entry->counted = (struct counted_answer *)answer;
    entry->bytes = sizeof *entry + sizeof *entry->counted + strlen(key) + answer->size + 2;
    atomic_fetch_add(&entry->counted->uses, 1);
    pthread_mutex_lock(&cache->lock);
    struct entry **place = place_of(cache, key);
    if (*place)
        drop(cache, place);
    place = bucket_of(cache, key);
    entry->next_in_bucket = *place;
    *place = entry;
    use(cache, entry);
    cache->bytes += entry->bytes;
    while (cache->bytes > cache->limit)
        drop(cache, place_of(cache, cache->oldest->key));
    pthread_mutex_unlock(&cache->lock);
}

size_t answer_cache_bytes(struct answer_cache *cache)
{
    pthread_mutex_lock(&cache->lock);
    size_t bytes = cache->bytes;
    pthread_mutex_unlock(&cache->lock);
    return bytes;
}
