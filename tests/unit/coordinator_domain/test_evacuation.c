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

/* The column holds what the same table has encoded. */
Test(evacuation, a_request_survives_the_column)
{
    static const char text[] =
        "{\"hosts\":[\"a1\"],\"vms\":[{\"vm\":\"g1\",\"host\":\"b1\",\"priority\":7}],"
        "\"apart\":[{\"vms\":[\"g1\",\"g2\"]}],\"mapping\":{\"networks\":{\"lan\":\"lan-b\"}},"
        "\"on_failure\":\"rollback\",\"at_once\":2,\"patience_s\":5,\"may_suspend\":true}";
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
    cr_assert_eq(((struct evacuation_vm_wish *)second.vms.items)[0].priority, 7);
    cr_assert_str_eq(second.mapping, "{\"networks\":{\"lan\":\"lan-b\"}}");
    free(kept);
    free(again);
    json_release(evacuation_request_fields, &first);
    json_release(evacuation_request_fields, &second);
}
