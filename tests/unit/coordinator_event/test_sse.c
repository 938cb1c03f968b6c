/* Server-sent events as text, and who wants which event. */
#include "coordinator/domain/event.h"
#include "coordinator/event/sse.h"

#include <criterion/criterion.h>

static struct buffer out;
static struct error err;

static void setup(void)
{
    buffer_init(&out, 200);
}
static void teardown(void)
{
    buffer_done(&out);
}
TestSuite(sse, .init = setup, .fini = teardown);

Test(sse, an_event_has_id_kind_and_data)
{
    cr_assert(sse_event(&out, 7, "vm.state", "{\"a\": 1}", &err));
    cr_assert_str_eq(out.data, "id: 7\nevent: vm.state\ndata: {\"a\": 1}\n\n");
}

Test(sse, each_kind_of_line_end_begins_a_data_line)
{
    cr_assert(sse_event(&out, 1, "k", "a\nb\r\nc\rd\n", &err));
    cr_assert_str_eq(out.data, "id: 1\nevent: k\ndata: a\ndata: b\ndata: c\ndata: d\ndata: \n\n");
}

Test(sse, empty_data_is_a_data_line)
{
    cr_assert(sse_event(&out, 1, "k", "", &err));
    cr_assert_str_eq(out.data, "id: 1\nevent: k\ndata: \n\n");
}

Test(sse, a_kind_with_a_line_end_is_refused)
{
    cr_assert_not(sse_event(&out, 1, "k\ndata: forged", "x", &err));
    cr_assert_eq(err.code, ERROR_INVALID);
    cr_assert_eq(out.size, 0);
}

Test(sse, what_does_not_fit_leaves_nothing_behind)
{
    char data[180];
    memset(data, 'x', sizeof data - 1);
    data[sizeof data - 1] = '\0';
    cr_assert(sse_event(&out, 1, "k", "first", &err));
    size_t before = out.size;
    cr_assert_not(sse_event(&out, 2, "k", data, &err));
    cr_assert_eq(err.code, ERROR_NO_SPACE);
    cr_assert_eq(out.size, before);
    cr_assert_str_eq(out.data, "id: 1\nevent: k\ndata: first\n\n");
}

Test(sse, a_position_dispatches_nothing)
{
    cr_assert(sse_position(&out, 41, "heartbeat", &err));
    cr_assert_str_eq(out.data, ": heartbeat\nid: 41\n\n");
}

#define POOL_A "7d2f1c9e-5a41-4a36-9d0c-3f6a2f7f000a"
#define POOL_B "7d2f1c9e-5a41-4a36-9d0c-3f6a2f7f000b"

Test(filter, an_empty_one_wants_all)
{
    const struct event_filter all = {0};
    cr_assert(event_is_wanted(&all, "vms", POOL_A, "{}"));
}

Test(filter, a_scope_is_of_pools)
{
    const struct event_filter of_b = {.scope = "{" POOL_B "}"};
    const struct event_filter of_both = {.scope = "{" POOL_A "," POOL_B "}"};
    cr_assert(event_is_wanted(&of_b, "vms", POOL_A, "{" POOL_A "," POOL_B "}"));
    cr_assert_not(event_is_wanted(&of_b, "vms", POOL_A, "{" POOL_A "}"));
    cr_assert(event_is_wanted(&of_both, "vms", POOL_A, "{" POOL_A "}"));
    cr_assert(event_is_wanted(&of_both, "vms", POOL_A, "{" POOL_B "}"));
}

Test(filter, an_evacuation_is_shown_to_who_sees_all_its_pools)
{
    const struct event_filter of_b = {.scope = "{" POOL_B "}"};
    const struct event_filter of_both = {.scope = "{" POOL_A "," POOL_B "}"};
    cr_assert_not(event_is_wanted(&of_b, "evacuations", POOL_A, "{" POOL_A "," POOL_B "}"));
    cr_assert(event_is_wanted(&of_b, "evacuations", POOL_A, "{" POOL_B "}"));
    cr_assert(event_is_wanted(&of_both, "evacuations", POOL_A, "{" POOL_B "," POOL_A "}"));
}

Test(filter, what_belongs_to_no_pool_is_in_every_scope_when_it_is_shared)
{
    const struct event_filter of_b = {.scope = "{" POOL_B "}"};
    const struct event_filter of_none = {.scope = "{}"};
    cr_assert(event_is_wanted(&of_b, "mapping-sets", POOL_A, "{}"));
    cr_assert_not(event_is_wanted(&of_b, "networks", POOL_A, "{}"));
    cr_assert_not(event_is_wanted(&of_none, "vms", POOL_A, "{" POOL_A "}"));
}

Test(filter, each_member_narrows)
{
    const struct event_filter filter = {.resource = "vms", .id = POOL_A, .pool = POOL_B};
    cr_assert(event_is_wanted(&filter, "vms", POOL_A, "{" POOL_A "," POOL_B "}"));
    cr_assert_not(event_is_wanted(&filter, "hosts", POOL_A, "{" POOL_B "}"));
    cr_assert_not(event_is_wanted(&filter, "vms", POOL_B, "{" POOL_B "}"));
    cr_assert_not(event_is_wanted(&filter, "vms", POOL_A, "{" POOL_A "}"));
}
