/* The moment of the switch-over as requests say it. */
#include "coordinator/domain/policy.h"

#include <criterion/criterion.h>
#include <string.h>

static const int64_t now_s = 1769896800; /* 2026-01-31T22:00:00Z */

static struct switchover decoded(const char *text)
{
    struct switchover found;
    struct error err;
    cr_assert(switchover_decode(text, now_s, &found, NULL, &err), "%s: %s", text, err.text);
    return found;
}

Test(policy, words_and_windows)
{
    cr_assert_eq(decoded("\"automatic\"").when, SWITCHOVER_AUTOMATIC);
    cr_assert_eq(decoded("\"manual\"").when, SWITCHOVER_MANUAL);
    struct switchover window = decoded("{\"not_before\": \"2026-01-31T22:00:00Z\","
                                       " \"not_after\": \"2026-02-01T00:30:00+01:00\"}");
    cr_assert_eq(window.when, SWITCHOVER_WINDOW);
    cr_assert_eq(window.not_before_s, now_s);
    cr_assert_eq(window.not_after_s, now_s + 5400);
    window = decoded("{\"not_after\": \"2026-01-31T22:00:01Z\"}");
    cr_assert(window.not_before_s == 0 && window.not_after_s == now_s + 1);
}

static void refused(const char *text, const char *words)
{
    struct switchover untouched = {.when = SWITCHOVER_MANUAL, .not_before_s = 1};
    struct error err;
    cr_assert_not(switchover_decode(text, now_s, &untouched, NULL, &err), "%s", text);
    cr_assert_eq(err.code, ERROR_INVALID);
    cr_assert(strstr(err.text, words), "%s", err.text);
    cr_assert(untouched.when == SWITCHOVER_MANUAL && untouched.not_before_s == 1);
}

Test(policy, what_says_nothing_is_refused)
{
    refused("\"window\"", "expected \"automatic\"");
    refused("7", "expected \"automatic\"");
    refused("{}", "not_before");
    refused("{\"later\": 1}", "/later");
    refused("{\"not_before\": \"2026-01-31\"}", "/not_before");
    refused("{\"not_before\": \"2026-01-31T22:00:00Z or so\"}", "/not_before");
    refused("{\"not_after\": \"2026-01-31T22:00:00Z\"}", "still to come");
    refused("{\"not_before\": \"2026-02-01T22:00:00Z\", \"not_after\": \"2026-02-01T22:00:00Z\"}",
            "after not_before");
}
