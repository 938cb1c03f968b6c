/* Trace contexts: what is taken, what is replaced, what is passed on. */
#include "base/traceparent.h"

#include <criterion/criterion.h>
#include <string.h>

#define TRACE  "4bf92f3577b34da6a3ce929d0e0e4736"
#define PARENT "00f067aa0ba902b7"

static const char *const good[] = {
    "00-" TRACE "-" PARENT "-01",
    "00-" TRACE "-" PARENT "-ff",
    "cc-" TRACE "-" PARENT "-01",
    "cc-" TRACE "-" PARENT "-01-what-the-future-brings",
};
static const char *const bad[] = {
    "",
    "00",
    "00-" TRACE "-" PARENT,
    "00-" TRACE "-" PARENT "-1",
    "00-" TRACE "-" PARENT "-0g",
    "00-" TRACE "-" PARENT "-01-more",
    "cc-" TRACE "-" PARENT "-01more",
    "ff-" TRACE "-" PARENT "-01",
    "0x-" TRACE "-" PARENT "-01",
    "00-4BF92F3577B34DA6A3CE929D0E0E4736-" PARENT "-01",
    "00-00000000000000000000000000000000-" PARENT "-01",
    "00-" TRACE "-0000000000000000-01",
    "00_" TRACE "-" PARENT "-01",
    "00-" TRACE "_" PARENT "-01",
    "00-4bf92f3577b34da6a3ce929d0e0e473-" PARENT "-01x",
};

Test(traceparent, tells_good_from_bad)
{
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        cr_assert(traceparent_is_valid(good[i]), "%s", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_assert(!traceparent_is_valid(bad[i]), "%s", bad[i]);
}

Test(traceparent, goes_on_with_the_same_trace_and_a_new_parent)
{
    char next[TRACEPARENT_SIZE];
    traceparent_continue(good[0], next);
    cr_assert(traceparent_is_valid(next), "%s", next);
    cr_assert(memcmp(next, good[0], 36) == 0 && strcmp(next + 52, "-01") == 0, "%s", next);
    cr_assert(strncmp(next + 36, PARENT, 16) != 0, "%s", next);
}

Test(traceparent, what_is_not_one_is_replaced)
{
    char first[TRACEPARENT_SIZE], second[TRACEPARENT_SIZE];
    traceparent_continue(NULL, first);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        traceparent_continue(bad[i], second);
        cr_assert(traceparent_is_valid(second), "%s", second);
        cr_assert(strncmp(second + 3, TRACE, 32) != 0 && strcmp(first, second) != 0);
    }
}

Test(traceparent, names_its_trace)
{
    char id[TRACE_ID_SIZE];
    traceparent_trace_id(good[0], id);
    cr_assert_str_eq(id, TRACE);
    traceparent_trace_id("nothing", id);
    cr_assert_str_eq(id, "");
}
