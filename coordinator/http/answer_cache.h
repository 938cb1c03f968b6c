/* Answers that are kept in memory, so that a poll of what has not changed asks no database. Any
 * thread. What holds is decided by freshness.h and by an answer's own end; the least recently used
 * go when the bytes are used up. */
#pragma once

#include "coordinator/http/freshness.h"

#include <stddef.h>

/* One answer, counted by its users. */
struct kept_answer {
    char *body; /* NUL-terminated */
    size_t size;
    char etag[36];
    struct freshness_mark mark;
    int64_t until_ms; /* monotonic; 0: as long as nothing changes */
};
/* Takes the body. */
struct kept_answer *kept_answer_new(char *body, const char *etag, const struct freshness_mark *mark,
                                    int64_t until_ms);
void kept_answer_free(void *answer); /* gives one use back; also for libmicrohttpd */

struct answer_cache;
struct answer_cache *answer_cache_new(struct freshness *freshness, size_t bytes);
void answer_cache_free(struct answer_cache *cache);
/* NULL: nothing is kept under the key, or it holds no more. One use is the caller's. */
struct kept_answer *answer_cache_find(struct answer_cache *cache, const char *key, int64_t now_ms);
/* Keeps one use of its own; replaces what was kept under the key. */
void answer_cache_keep(struct answer_cache *cache, const char *key, struct kept_answer *answer);
size_t answer_cache_bytes(struct answer_cache *cache);
