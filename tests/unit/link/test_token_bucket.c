/* The bandwidth cap: the rate holds over time, the burst is bounded. */
#include "agent/link/token_bucket.h"

#include <criterion/criterion.h>

TestSuite(token_bucket, .timeout = 30);

Test(token_bucket, no_rate_is_no_limit)
{
    struct token_bucket bucket;
    token_bucket_init(&bucket, 0, 0);
    cr_assert_eq(token_bucket_allows(&bucket, 1 << 30, 0), 1 << 30);
    token_bucket_spend(&bucket, 1 << 30);
    cr_assert_eq(token_bucket_allows(&bucket, 5, 0), 5);
}

/* Spends all it may for ten seconds, looking as often as the bucket says. */
static int64_t spent_in_ten_seconds(int64_t rate, size_t wanted)
{
    struct token_bucket bucket;
    int64_t total = 0;
    token_bucket_init(&bucket, rate, 0);
    for (int64_t us = 0; us < 10000000;) {
        size_t allowed = token_bucket_allows(&bucket, wanted, us);
        token_bucket_spend(&bucket, allowed);
        total += (int64_t)allowed;
        if (allowed == 0)
            us += token_bucket_wait_ms(&bucket, wanted) * 1000;
    }
    return total;
}

Test(token_bucket, the_rate_holds_over_time)
{
    const int64_t rates[] = {10000, 100000, 10000000, 1000000000};
    for (int i = 0; i < 4; i++) {
        int64_t spent = spent_in_ten_seconds(rates[i], 256 << 10);
        cr_assert(spent <= rates[i] * 10 + (16 << 10), "rate %ld: %ld", rates[i], spent);
        cr_assert(spent >= rates[i] * 8, "rate %ld: %ld", rates[i], spent);
    }
}

Test(token_bucket, a_pause_saves_up_no_more_than_a_burst)
{
    struct token_bucket bucket;
    token_bucket_init(&bucket, 2000000, 0);
    cr_assert_eq(token_bucket_allows(&bucket, 1 << 30, 3600 * INT64_C(1000000)), 100000);
}

Test(token_bucket, small_pieces_need_not_wait_for_a_whole_record)
{
    struct token_bucket bucket;
    token_bucket_init(&bucket, 1000000, 0);
    cr_assert_eq(token_bucket_allows(&bucket, 100, 200), 100);
    cr_assert_eq(token_bucket_allows(&bucket, 100000, 200), 0);
}
