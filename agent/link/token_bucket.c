/* See token_bucket.h. */
#include "agent/link/token_bucket.h"

enum {
    LEAST_SPEND = 16 << 10, /* one TLS record: smaller pieces cost more than they smooth */
    BURST_PER_S = 20,       /* a full bucket is this part of a second */
    LONGEST_WAIT_MS = 60000,
};

void token_bucket_init(struct token_bucket *bucket, int64_t rate_per_s, int64_t now_us)
{
    int64_t burst = rate_per_s / BURST_PER_S;
    *bucket = (struct token_bucket){
        .rate_per_s = rate_per_s > 0 ? rate_per_s : 0,
        .burst = burst > LEAST_SPEND ? burst : LEAST_SPEND,
        .filled_us = now_us,
    };
}

static size_t least_spend(size_t wanted)
{
    return wanted < LEAST_SPEND ? wanted : LEAST_SPEND;
}

size_t token_bucket_allows(struct token_bucket *bucket, size_t wanted, int64_t now_us)
{
    if (bucket->rate_per_s == 0)
        return wanted;
    double gained = (double)(now_us - bucket->filled_us) * 1e-6 * (double)bucket->rate_per_s;
    bucket->filled_us = now_us;
    bucket->tokens += gained;
    if (bucket->tokens > (double)bucket->burst)
        bucket->tokens = (double)bucket->burst;
    if (bucket->tokens < (double)least_spend(wanted))
        return 0;
    return bucket->tokens < (double)wanted ? (size_t)bucket->tokens : wanted;
}

void token_bucket_spend(struct token_bucket *bucket, size_t count)
{
    if (bucket->rate_per_s > 0)
        bucket->tokens -= (double)count;
}

int token_bucket_wait_ms(const struct token_bucket *bucket, size_t wanted)
{
    double missing = (double)least_spend(wanted) - bucket->tokens;
    if (bucket->rate_per_s == 0 || missing <= 0)
        return 1;
    double wait_ms = missing * 1e3 / (double)bucket->rate_per_s;
    return wait_ms >= LONGEST_WAIT_MS ? LONGEST_WAIT_MS : (int)wait_ms + 1;
}
