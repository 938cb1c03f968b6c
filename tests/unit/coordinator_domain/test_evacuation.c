/* How evacuations end, and what their requests are made of. */
#include "coordinator/domain/evacuation.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

Test(evacuation, ends_by_what_became_of_its_vms)
{
    cr_assert_eq(evacuation_end_of(EVACUATION_RUNNING, 3, 0), EVACUATION_SUCCEEDED);
    cr_assert_eq(evacuation_end_of(EVACUATION_RUNNING, 0, 0), EVACUATION_SUCCEEDED);
    cr_assert_eq(evacuation_end_of(EVACUATION_PAUSED, 2, 1), EVACUATION_SUCCEEDED_WITH_EXCEPTIONS);
    cr_assert_eq(evacuation_end_of(EVACUATION_RUNNING, 0, 1), EVACUATION_FAILED);
    cr_assert_eq(evacuation_end_of(EVACUATION_STOPPING, 3, 1), EVACUATION_FAILED);
    cr_assert_eq(evacuation_end_of(EVACUATION_ROLLING_BACK, 0, 1), EVACUATION_FAILED);
    cr_assert_eq(evacuation_end_of(EVACUATION_CANCELLING, 3, 0), EVACUATION_CANCELLED);
}

/* Whether the last of these has its turn, as `limits` say. */
static bool last_has_turn(int at_once, int per_host, const struct evacuation_switchover *list,
                          size_t count)
{
    const struct evacuation_request request = {.switchovers_at_once = at_once,
                                               .switchovers_per_host = per_host};
    return evacuation_has_turn(&request, list, count, &list[count - 1]);
}

Test(evacuation, turns_are_given_as_far_as_both_limits_leave_room)
{
    const struct evacuation_switchover list[] = {
        {"a1", "b1", true, true},
        {"c1", "b3", false, true},
        {"a2", "b1", true, false},
        {"a2", "b2", true, false},
    };
    /* b1 is free when nobody goes there */
    cr_assert(last_has_turn(0, 1, list + 2, 1));
    cr_assert_not(last_has_turn(0, 1, list, 3));
    cr_assert(last_has_turn(0, 2, list, 3));
    /* others' migrations count at their hosts, and not among the evacuation's own */
    cr_assert(last_has_turn(2, 1, list, 4));
    cr_assert_not(last_has_turn(1, 0, list, 4));
    const struct evacuation_switchover back[] = {{"c1", "b3", false, true},
                                                 {"b3", "a1", true, false}};
    cr_assert_not(last_has_turn(5, 1, back, 2));
    cr_assert(last_has_turn(1, 0, back, 2));
    cr_assert(last_has_turn(0, 0, back, 2));
}

Test(evacuation, only_a_limit_holds_switch_overs)
{
    cr_assert_not(evacuation_gives_turns(&(struct evacuation_request){0}));
    cr_assert(evacuation_gives_turns(&(struct evacuation_request){.switchovers_at_once = 1}));
    cr_assert(evacuation_gives_turns(&(struct evacuation_request){.switchovers_per_host = 1}));
}

/* The column holds what the same table has encoded. */
Test(evacuation, a_request_survives_the_column)
{
    static const char text[] =
        "{\"hosts\":[\"a1\"],\"vms\":[{\"vm\":\"g1\",\"host\":\"b1\",\"priority\":7}],"
        "\"apart\":[{\"vms\":[\"g1\",\"g2\"]}],\"mapping\":{\"networks\":{\"lan\":\"lan-b\"}},"
        "\"on_failure\":\"rollback\",\"at_once\":2,\"switchovers_per_host\":3,\"patience_s\":5,"
        "\"may_suspend\":true}";
    struct evacuation_request first = {0}, second = {0};
    struct error err;
    cr_assert(json_decode_text(text, strlen(text), evacuation_request_fields, &first, &err), "%s",
              err.text);
    char *kept = json_encode_text(evacuation_request_fields, &first);
    cr_assert(json_decode_text(kept, strlen(kept), evacuation_request_fields, &second, &err), "%s",
              err.text);
    char *again = json_encode_text(evacuation_request_fields, &second);
    cr_assert_str_eq(kept, again);
    cr_assert_eq(second.on_failure, ON_FAILURE_ROLLBACK);
    cr_assert_eq(second.switchovers_per_host, 3);
    cr_assert_eq(((struct evacuation_vm_wish *)second.vms.items)[0].priority, 7);
    cr_assert_str_eq(second.mapping, "{\"networks\":{\"lan\":\"lan-b\"}}");
    free(kept);
    free(again);
    json_release(evacuation_request_fields, &first);
    json_release(evacuation_request_fields, &second);
}
