/* Tokens that were looked up a moment ago, by the hash of their text. Any thread. A change of any
 * token (freshness topic "token") ends what is known of all. */
#pragma once

#include "coordinator/http/freshness.h"
#include "coordinator/security/token.h"

struct token_cache;
struct token_cache *token_cache_new(struct freshness *freshness);
void token_cache_free(struct token_cache *cache);
/* False: it has to be looked up. Frees what *token held. */
bool token_cache_find(struct token_cache *cache, const char hash[65], int64_t now_ms,
                      struct token *token);
/* `read_ms`, `generation`: before it was looked up. */
void token_cache_keep(struct token_cache *cache, const char hash[65], const struct token *token,
                      int64_t read_ms, uint64_t generation);
