/* Token bucket, meter, and how the copy yields to the guest. */
#include "agent/mirror/copy_yield.h"
#include "agent/mirror/rate.h"

#include <criterion/criterion.h>

enum { MIB = 1 << 20 };

Test(rate_limit, without_a_limit_nothing_waits)
{
    struct rate_limit limit = {0};
    rate_limit_set(&limit, 0, 0);
    rate_limit_spend(&limit, UINT64_C(1) << 40);
    cr_assert_eq(rate_limit_wait_ms(&limit, 1), 0);
}

Test(rate_limit, holds_to_the_rate_over_time)
{
    struct rate_limit limit = {0};
    int64_t now_us = 1000000;
    uint64_t sent = 0;
    rate_limit_set(&limit, 10 * MIB, now_us);
    while (now_us < 11000000) {
        int wait_ms = rate_limit_wait_ms(&limit, now_us);
        now_us += wait_ms * 1000;
        if (wait_ms > 0)
            continue;
        rate_limit_spend(&limit, 256 << 10);
        sent += 256 << 10;
    }
    cr_assert_gt(sent, 98 * MIB);
    cr_assert_lt(sent, 102 * MIB);
}

Test(rate_limit, holds_to_the_rate_when_it_is_set_more_often_than_asked)
{
    struct rate_limit limit = {0};
    uint64_t sent = 0;
    rate_limit_set(&limit, 10 * MIB, 0);
    for (int64_t now_us = 0; now_us < 10000000; now_us += 50000) {
        rate_limit_set(&limit, 10 * MIB, now_us);
        if (now_us % 200000 != 0)
            continue;
        while (rate_limit_wait_ms(&limit, now_us) == 0) {
            rate_limit_spend(&limit, 2 * MIB);
            sent += 2 * MIB;
        }
    }
    cr_assert_gt(sent, 98 * MIB);
    cr_assert_lt(sent, 104 * MIB);
}

Test(rate_limit, an_idle_time_is_not_saved_up)
{
    struct rate_limit limit = {0};
    rate_limit_set(&limit, 10 * MIB, 0);
    cr_assert_eq(rate_limit_wait_ms(&limit, 60000000), 0);
    rate_limit_spend(&limit, 10 * MIB);
    cr_assert_gt(rate_limit_wait_ms(&limit, 60000000), 900);
}

Test(rate_limit, a_new_limit_counts_at_once)
{
    struct rate_limit limit = {0};
    rate_limit_set(&limit, MIB, 0);
    rate_limit_spend(&limit, 4 * MIB);
    cr_assert_eq(rate_limit_wait_ms(&limit, 0), 1000);
    rate_limit_set(&limit, 0, 0);
    cr_assert_eq(rate_limit_wait_ms(&limit, 0), 0);
    rate_limit_set(&limit, MIB, 0);
    cr_assert_eq(rate_limit_wait_ms(&limit, 0), 0);
}

Test(rate_meter, tells_the_last_seconds_only)
{
    struct rate_meter meter = {0};
    uint64_t total = 0;
    cr_assert_eq(rate_meter_bytes_per_s(&meter, 0, 0), 0);
    for (int64_t now_ms = 0; now_ms <= 10000; now_ms += 50) {
        total += (now_ms < 5000 ? UINT64_C(100) : 10) * MIB / 20;
        rate_meter_update(&meter, total, now_ms);
    }
    uint64_t rate = rate_meter_bytes_per_s(&meter, total, 10000);
    cr_assert_gt(rate, 9 * MIB);
    cr_assert_lt(rate, 11 * MIB);
    cr_assert_lt(rate_meter_bytes_per_s(&meter, total, 60000), MIB);
}

/* Runs for `seconds` at what the limit allows, at most `possible`, while writes wait wait_ms. */
static uint64_t run(struct copy_yield *yield, int64_t *now_ms, int seconds, int64_t wait_ms,
                    uint64_t possible)
{
    uint64_t sent = yield->sent_bytes, limit = yield->limit_bytes_per_s;
    for (int64_t end = *now_ms + seconds * 1000; *now_ms < end; *now_ms += 50) {
        sent += (limit != 0 && limit < possible ? limit : possible) / 20;
        limit = copy_yield_update(yield, wait_ms, sent, *now_ms);
    }
    return limit;
}

Test(copy_yield, an_idle_guest_costs_the_copy_nothing)
{
    struct copy_yield yield = {0};
    int64_t now_ms = 1000;
    cr_assert_eq(run(&yield, &now_ms, 10, 0, 1000 * MIB), 0);
}

Test(copy_yield, long_waits_slow_the_copy_down_but_never_stop_it)
{
    struct copy_yield yield = {0};
    int64_t now_ms = 1000;
    run(&yield, &now_ms, 1, 1, 1000 * MIB);
    uint64_t after_1_s = run(&yield, &now_ms, 1, 60, 1000 * MIB);
    cr_assert_lt(after_1_s, 500 * MIB);
    cr_assert_gt(after_1_s, 16 * MIB);
    cr_assert_eq(run(&yield, &now_ms, 30, 60, 1000 * MIB), 16 * MIB);
}

Test(copy_yield, one_long_wait_within_a_step_is_not_overlooked)
{
    struct copy_yield yield = {0};
    int64_t now_ms = 1000;
    run(&yield, &now_ms, 2, 0, 1000 * MIB);
    copy_yield_update(&yield, 80, yield.sent_bytes, yield.at_ms + 50);
    cr_assert_neq(copy_yield_update(&yield, 0, yield.sent_bytes + 200 * MIB, yield.at_ms + 200), 0);
}

Test(copy_yield, goes_up_again_when_writes_do_not_wait)
{
    struct copy_yield yield = {0};
    int64_t now_ms = 1000;
    run(&yield, &now_ms, 20, 60, 400 * MIB);
    cr_assert_eq(yield.limit_bytes_per_s, 16 * MIB);
    cr_assert_eq(run(&yield, &now_ms, 30, 2, 400 * MIB), 0);
}
