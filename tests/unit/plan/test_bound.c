/* Lower bounds of inputs whose best makespan is known by hand. */
#include "world.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static void bound_is(const struct plan_input *input, enum plan_bound_kind kind, double seconds)
{
    struct plan plan;
    plan_make(input, &plan);
    cr_assert_eq(plan.bound.kind, kind, "%s", plan_bound_names[plan.bound.kind]);
    cr_assert_float_eq(plan.bound.seconds, seconds, seconds / 1000, "%f", plan.bound.seconds);
    cr_assert_geq(plan.schedule.timeline.makespan, plan.bound.seconds * (1 - 1e-9));
    plan_done(&plan);
}

Test(plan_bound, what_a_host_sends)
{
    struct plan_input input;
    world_init(&input, 3, GBIT, 64 * GIB);
    world_add(&input, 0, 1, 4 * GIB);
    world_add(&input, 0, 2, 4 * GIB);
    bound_is(&input, PLAN_BOUND_NIC, 8 * (double)GIB / GBIT);
    plan_input_done(&input);
}

Test(plan_bound, five_moves_in_four_slots_are_two_rounds)
{
    struct plan_input input;
    world_init(&input, 6, GBIT, 64 * GIB);
    input.hosts[0].receive_bytes_per_s = 100 * GBIT;
    for (int i = 1; i < 6; i++)
        world_add(&input, i, 0, 4 * GIB);
    bound_is(&input, PLAN_BOUND_SLOTS, 2 * 4 * (double)GIB / GBIT);
    plan_input_done(&input);
}

/* h1 is full: what comes there waits until its own VM has left. */
Test(plan_bound, what_comes_waits_for_what_leaves)
{
    struct plan_input input;
    world_init(&input, 3, GBIT, 64 * GIB);
    input.hosts[1].memory_free_bytes = 0;
    world_add(&input, 0, 1, 4 * GIB);
    world_add(&input, 1, 2, 4 * GIB);
    bound_is(&input, PLAN_BOUND_PATH, 8 * (double)GIB / GBIT);
    plan_input_done(&input);
}

/* Three full hosts in a circle and one with room for one VM: the hole goes round, one move at a
 * time. */
Test(plan_bound, one_hole_in_a_circle_moves_one_at_a_time)
{
    struct plan_input input;
    world_init(&input, 3, GBIT, 0);
    input.hosts[0].memory_free_bytes = 4 * GIB;
    for (int i = 0; i < 6; i++)
        world_add(&input, i % 3, (i + 1) % 3, 4 * GIB);
    bound_is(&input, PLAN_BOUND_MEMORY, 6 * 4 * (double)GIB / GBIT);
    plan_input_done(&input);
}
