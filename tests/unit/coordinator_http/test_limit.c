/* Rates by key: the burst, the rate after it, keys apart, and a table that forgets the idlest. */
#include "coordinator/http/limit.h"

#include "base/memory.h"

#include <criterion/criterion.h>
#include <stdlib.h>

enum { SECOND_US = 1000000 };

static struct limit *made(int per_s, int burst)
{
    struct limit *limit = memory_alloc(sizeof *limit);
    limit_init(limit, per_s, 1, burst);
    return limit;
}

static void drop(struct limit *limit)
{
    limit_done(limit);
    free(limit);
}

/* How many of `tries` at this moment are let through. */
static int taken(struct limit *limit, uint64_t key, int64_t now_us, int tries)
{
    int count = 0, wait_s = 0;
    for (int i = 0; i < tries; i++)
        count += limit_take(limit, key, now_us, &wait_s);
    return count;
}

Test(limit, lets_a_burst_through_and_then_the_rate)
{
    struct limit *limit = made(10, 25);
    int64_t now = 100 * (int64_t)SECOND_US;
    cr_assert_eq(taken(limit, 7, now, 100), 25);
    cr_assert_eq(taken(limit, 7, now + SECOND_US, 100), 10);
    cr_assert_eq(taken(limit, 7, now + SECOND_US, 1), 0);
    cr_assert_eq(taken(limit, 7, now + (int64_t)60 * SECOND_US, 100), 25);
    drop(limit);
}

Test(limit, says_when_it_lets_through_again)
{
    struct limit *limit = made(1, 3);
    int64_t now = 100 * (int64_t)SECOND_US;
    int wait_s = 0;
    cr_assert_not(limit_is_over(limit, 7, now, &wait_s));
    cr_assert_eq(taken(limit, 7, now, 3), 3);
    cr_assert(limit_is_over(limit, 7, now, &wait_s));
    cr_assert_eq(wait_s, 1);
    cr_assert_eq(taken(limit, 7, now + SECOND_US - 1, 1), 0);
    cr_assert_eq(taken(limit, 7, now + SECOND_US, 1), 1);
    drop(limit);
}

Test(limit, keeps_keys_apart)
{
    struct limit *limit = made(1, 2);
    for (uint64_t key = 1; key <= LIMIT_SETS; key++)
        cr_assert_eq(taken(limit, key, SECOND_US, 10), 2);
    drop(limit);
}

Test(limit, without_a_rate_lets_all_through)
{
    struct limit *limit = made(0, 0);
    int wait_s = 0;
    cr_assert_eq(taken(limit, 7, SECOND_US, 10000), 10000);
    cr_assert_not(limit_is_over(limit, 7, SECOND_US, &wait_s));
    drop(limit);
}

Test(limit, forgets_the_key_that_is_least_ahead)
{
    struct limit *limit = made(1, 100);
    int64_t now = 1000 * (int64_t)SECOND_US;
    cr_assert_eq(taken(limit, LIMIT_SETS, now, 200), 100);
    for (uint64_t i = 2; i < 10000; i++) /* all of the same set, each once */
        cr_assert_eq(taken(limit, i * LIMIT_SETS, now, 1), 1);
    cr_assert_eq(taken(limit, LIMIT_SETS, now, 1), 0, "the busy key was forgotten");
    drop(limit);
}

Test(limit, knows_a_key_until_it_is_forgotten)
{
    struct limit *limit = made(1, 5);
    cr_assert_not(limit_is_known(limit, 7));
    limit_know(limit, 7);
    cr_assert(limit_is_known(limit, 7));
    cr_assert_not(limit_is_known(limit, 7 + LIMIT_SETS));
    cr_assert_eq(taken(limit, 7, SECOND_US, 10), 5);
    cr_assert(limit_is_known(limit, 7));
    drop(limit);
}

Test(limit, keys_of_texts_differ_and_are_never_0)
{
    cr_assert_neq(limit_key("a"), limit_key("b"));
    cr_assert_eq(limit_key("a"), limit_key("a"));
    cr_assert_neq(limit_key(""), 0);
}
