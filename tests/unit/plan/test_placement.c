/* Where VMs go, and what is said when nothing takes them. */
#include "plan/plan_placement.h"
#include "world.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static const struct plan_refusal *refused(const struct plan_refusals *refusals, int vm)
{
    for (size_t i = 0; i < refusals->count; i++) {
        if (refusals->items[i].vm == vm)
            return &refusals->items[i];
    }
    return NULL;
}

Test(plan_placement, spreads_over_the_hosts)
{
    struct plan_input input;
    struct plan_placement placement;
    struct plan_refusals refusals = {0};
    world_init(&input, 5, GBIT, 64 * GIB);
    input.hosts[0].is_destination = false;
    for (int i = 0; i < 4; i++)
        world_add(&input, 0, -1, 4 * GIB);
    plan_placement_find(&input, &placement, &refusals);
    int used[5] = {0};
    for (int i = 0; i < 4; i++)
        used[placement.host[i]]++;
    for (int h = 1; h < 5; h++)
        cr_assert_eq(used[h], 1, "host %d has %d", h, used[h]);
    plan_placement_done(&placement);
    plan_refusals_done(&refusals);
    plan_input_done(&input);
}

Test(plan_placement, says_how_much_memory_is_missing)
{
    struct plan_input input;
    struct plan_placement placement;
    struct plan_refusals refusals = {0};
    world_init(&input, 3, GBIT, 4 * GIB);
    input.hosts[0].is_destination = false;
    int big = world_add(&input, 0, -1, 8 * GIB);
    int small = world_add(&input, 0, -1, 2 * GIB);
    plan_placement_find(&input, &placement, &refusals);
    const struct plan_refusal *refusal = refused(&refusals, big);
    cr_assert(refusal);
    cr_assert_str_eq(refusal->code, "no-host");
    cr_assert(strstr(refusal->message,
                     "needed are 8589934592 bytes of memory on one host, the most "
                     "left is 4294967296"),
              "%s", refusal->message);
    cr_assert(strstr(refusal->message, "not-a-destination"), "%s", refusal->message);
    cr_assert_geq(placement.host[small], 1);
    plan_placement_done(&placement);
    plan_refusals_done(&refusals);
    plan_input_done(&input);
}

Test(plan_placement, fills_up_when_spreading_leaves_no_room_for_the_rest)
{
    struct plan_input input;
    struct plan_placement placement;
    struct plan_refusals refusals = {0};
    world_init(&input, 3, GBIT, 8 * GIB);
    input.hosts[0].is_destination = false;
    input.hosts[2].receive_bytes_per_s = 10 * GBIT;
    input.hosts[2].memory_free_bytes = 12 * GIB;
    world_add(&input, 0, -1, 8 * GIB);
    world_add(&input, 0, -1, 6 * GIB);
    world_add(&input, 0, -1, 6 * GIB);
    plan_placement_find(&input, &placement, &refusals);
    cr_assert_eq(refusals.count, 0);
    cr_assert_eq(placement.host[0], 1);
    plan_placement_done(&placement);
    plan_refusals_done(&refusals);
    plan_input_done(&input);
}

Test(plan_placement, keeps_groups_apart_and_together)
{
    struct plan_input input;
    struct plan_placement placement;
    struct plan_refusals refusals = {0};
    int apart[] = {0, 1, 2}, together[] = {3, 4};
    world_init(&input, 4, GBIT, 64 * GIB);
    input.hosts[0].is_destination = false;
    for (int i = 0; i < 5; i++)
        world_add(&input, 0, -1, 4 * GIB);
    struct plan_group groups[] = {{{apart, 3}, true}, {{together, 2}, false}};
    input.groups = groups;
    input.group_count = 2;
    plan_placement_find(&input, &placement, &refusals);
    cr_assert_eq(refusals.count, 0);
    cr_assert_neq(placement.host[0], placement.host[1]);
    cr_assert_neq(placement.host[0], placement.host[2]);
    cr_assert_neq(placement.host[1], placement.host[2]);
    cr_assert_eq(placement.host[3], placement.host[4]);
    input.groups = NULL;
    input.group_count = 0;
    plan_placement_done(&placement);
    plan_refusals_done(&refusals);
    plan_input_done(&input);
}

Test(plan_placement, what_is_pinned_or_cannot_move_keeps_its_room)
{
    struct plan_input input;
    struct plan_placement placement;
    struct plan_refusals refusals = {0};
    world_init(&input, 2, GBIT, 0);
    int pinned = world_add(&input, 0, 1, 4 * GIB);
    int other = world_add(&input, 1, 0, 4 * GIB);
    input.vms[pinned].is_pinned = true;
    plan_placement_find(&input, &placement, &refusals);
    cr_assert_str_eq(refused(&refusals, pinned)->code, "pinned");
    cr_assert(refused(&refusals, other), "there is no room for it while the other stays");
    cr_assert_eq(placement.host[pinned], -1);
    cr_assert_eq(placement.host[other], -1);
    plan_placement_done(&placement);
    plan_refusals_done(&refusals);
    plan_input_done(&input);
}
