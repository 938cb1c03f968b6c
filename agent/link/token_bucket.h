/* A rate limit by token bucket. Pure: the caller says what time it is. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct token_bucket {
    int64_t rate_per_s; /* 0: no limit */
    int64_t burst;
    double tokens;
    int64_t filled_us;
};

void token_bucket_init(struct token_bucket *bucket, int64_t rate_per_s, int64_t now_us);
/* How much of `wanted` may be spent now. 0 as well when it is too little to be worth a call. */
size_t token_bucket_allows(struct token_bucket *bucket, size_t wanted, int64_t now_us);
void token_bucket_spend(struct token_bucket *bucket, size_t count);
/* Milliseconds until token_bucket_allows(wanted) will not be 0; at least 1. */
int token_bucket_wait_ms(const struct token_bucket *bucket, size_t wanted);
