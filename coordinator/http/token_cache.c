/* A table of one entry for each slot; see token_cache.h. */
#include "coordinator/http/token_cache.h"

#include "base/memory.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum {
    SLOTS = 1024,
    KEEP_MS = 60000, /* a look-up notes that the token was used, to the minute */
};

struct slot {
    char hash[65]; /* "": empty */
    struct token token;
    int64_t until_ms; /* monotonic */
    struct freshness_mark mark;
};

struct token_cache {
    struct freshness *freshness;
    pthread_mutex_t lock;
    struct slot slots[SLOTS];
};

struct token_cache *token_cache_new(struct freshness *freshness)
{
    struct token_cache *cache = memory_alloc(sizeof *cache);
    cache->freshness = freshness;
    pthread_mutex_init(&cache->lock, NULL);
    return cache;
}

void token_cache_free(struct token_cache *cache)
{
    if (!cache)
        return;
    for (int i = 0; i < SLOTS; i++)
        token_done(&cache->slots[i].token);
    pthread_mutex_destroy(&cache->lock);
    free(cache);
}

/* The first hex digits of a hash are as good as any number. */
static struct slot *slot_of(struct token_cache *cache, const char hash[65])
{
    char digits[6] = "";
    memcpy(digits, hash, 5);
    return &cache->slots[strtoul(digits, NULL, 16) % SLOTS];
}

bool token_cache_find(struct token_cache *cache, const char hash[65], int64_t now_ms,
                      struct token *token)
{
    pthread_mutex_lock(&cache->lock);
    const struct slot *slot = slot_of(cache, hash);
    bool is_found = strcmp(slot->hash, hash) == 0 && now_ms < slot->until_ms &&
                    freshness_holds(cache->freshness, &slot->mark, now_ms);
    if (is_found)
        token_copy(token, &slot->token);
    pthread_mutex_unlock(&cache->lock);
    return is_found;
}

void token_cache_keep(struct token_cache *cache, const char hash[65], const struct token *token,
                      int64_t read_ms, uint64_t generation)
{
    pthread_mutex_lock(&cache->lock);
    struct slot *slot = slot_of(cache, hash);
    memcpy(slot->hash, hash, sizeof slot->hash);
    token_copy(&slot->token, token);
    bool is_short = token->good_for_ms && token->good_for_ms < KEEP_MS;
    slot->until_ms = read_ms + (is_short ? token->good_for_ms : KEEP_MS);
    freshness_mark(&slot->mark, generation);
    freshness_mark_topic(&slot->mark, "token");
    pthread_mutex_unlock(&cache->lock);
}
