/* Schedules of small inputs whose best makespan is known. */
#include "plan/plan_simulation.h"
#include "world.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static void is_near(double value, double expected)
{
    cr_assert(value > expected * 0.999 && value < expected * 1.003, "%f is not near %f", value,
              expected);
}

Test(plan_schedule, an_empty_request_is_an_empty_plan)
{
    struct plan_input input;
    struct plan plan;
    world_init(&input, 2, GBIT, 64 * GIB);
    world_add(&input, 0, -2, GIB);
    world_plan(&input, &plan);
    cr_assert_eq(plan.model.move_count, 0);
    cr_assert_eq(plan.bound.kind, PLAN_BOUND_NONE);
    cr_assert_eq(plan.schedule.timeline.makespan, 0);
    plan_done(&plan);
    plan_input_done(&input);
}

Test(plan_schedule, one_move_takes_its_size_over_what_the_guest_leaves_of_the_rate)
{
    struct plan_input input;
    struct plan plan;
    world_init(&input, 2, 100e6, 64 * GIB);
    input.options.handoff_s = 2;
    int vm = world_add(&input, 0, 1, GIB);
    input.vms[vm].dirty_bytes_per_s = 20e6;
    world_plan(&input, &plan);
    is_near(plan.schedule.timeline.makespan, (double)GIB / 80e6 + 2);
    is_near(plan.bound.seconds, (double)GIB / 80e6 + 2);
    plan_done(&plan);
    plan_input_done(&input);
}

/* Both NICs are full duplex, so two VMs change places in the time of one, when there is room. */
Test(plan_schedule, a_swap_with_room_goes_both_ways_at_once)
{
    struct plan_input input;
    struct plan plan;
    world_init(&input, 2, GBIT, 8 * GIB);
    world_add(&input, 0, 1, 8 * GIB);
    world_add(&input, 1, 0, 8 * GIB);
    world_plan(&input, &plan);
    is_near(plan.schedule.timeline.makespan, 8 * (double)GIB / GBIT);
    plan_done(&plan);
    plan_input_done(&input);
}

Test(plan_schedule, a_swap_without_room_goes_over_a_third_host)
{
    struct plan_input input;
    struct plan plan;
    world_init(&input, 3, GBIT, 0);
    input.hosts[2].memory_free_bytes = 8 * GIB;
    world_add(&input, 0, 1, 8 * GIB);
    world_add(&input, 1, 0, 8 * GIB);
    world_plan(&input, &plan);
    cr_assert_eq(plan.model.move_count, 3);
    is_near(plan.schedule.timeline.makespan, 3 * 8 * (double)GIB / GBIT);
    world_check_rates(&plan);
    plan_done(&plan);
    plan_input_done(&input);
}

Test(plan_schedule, a_swap_without_room_anywhere_is_refused_and_the_rest_moves)
{
    struct plan_input input;
    struct plan plan;
    world_init(&input, 3, GBIT, 0);
    input.hosts[2].memory_free_bytes = GIB;
    world_add(&input, 0, 1, 8 * GIB);
    world_add(&input, 1, 0, 8 * GIB);
    world_add(&input, 0, 2, GIB);
    plan_make(&input, &plan);
    cr_assert_eq(plan.refusals.count, 2);
    cr_assert_str_eq(plan.refusals.items[0].code, "cycle");
    cr_assert(strstr(plan.refusals.items[0].message, "no host has room to hold one of them"));
    cr_assert_eq(plan.model.move_count, 1);
    is_near(plan.schedule.timeline.makespan, (double)GIB / GBIT);
    is_near(plan.bound.seconds, (double)GIB / GBIT);
    plan_done(&plan);
    plan_input_done(&input);
}

/* 12 senders of 1 Gbit/s fill a receiver of 10: ten at full rate and then two would take 2 p, the
 * receiver's NIC needs 1.2 p. */
Test(plan_schedule, a_wide_receiver_is_kept_full)
{
    struct plan_input input;
    struct plan plan;
    world_init(&input, 13, GBIT, 64 * GIB);
    input.hosts[12].receive_bytes_per_s = 10 * GBIT;
    input.hosts[12].memory_free_bytes = 1024 * GIB;
    input.hosts[12].slots = 16;
    for (int i = 0; i < 12; i++)
        world_add(&input, i, 12, 8 * GIB);
    world_plan(&input, &plan);
    cr_assert(plan.schedule.timeline.makespan < 1.02 * plan.bound.seconds);
    is_near(plan.bound.seconds, 1.2 * 8 * (double)GIB / GBIT);
    world_check_rates(&plan);
    plan_done(&plan);
    plan_input_done(&input);
}

Test(plan_schedule, full_bandwidth_to_few)
{
    struct plan_input input;
    struct plan plan;
    world_init(&input, 2, GBIT, 64 * GIB);
    for (int i = 0; i < 4; i++)
        world_add(&input, 0, 1, 4 * GIB);
    world_plan(&input, &plan);
    for (int i = 0; i < 4; i++) {
        const struct plan_times *times = &plan.schedule.timeline.moves[i];
        cr_assert_eq(times->first, times->last, "one rate from begin to end");
        is_near(plan.schedule.timeline.spans[times->first].rate, GBIT);
    }
    plan_done(&plan);
    plan_input_done(&input);
}

Test(plan_schedule, the_same_seed_gives_the_same_plan)
{
    struct plan_input input;
    struct plan first, second;
    world_init(&input, 5, GBIT, 4 * GIB);
    input.options.seed = 7;
    for (int i = 0; i < 20; i++)
        world_add(&input, i % 5, (i + 1 + i % 3) % 5, (1 + (uint64_t)i % 3) * GIB);
    plan_make(&input, &first);
    plan_make(&input, &second);
    cr_assert_eq(first.model.move_count, second.model.move_count);
    cr_assert_eq(first.schedule.timeline.span_count, second.schedule.timeline.span_count);
    for (int i = 0; i < first.model.move_count; i++)
        cr_assert_eq(first.schedule.timeline.moves[i].end, second.schedule.timeline.moves[i].end);
    plan_done(&first);
    plan_done(&second);
    plan_input_done(&input);
}

Test(plan_schedule, higher_priority_goes_first)
{
    struct plan_input input;
    struct plan plan;
    world_init(&input, 2, GBIT, 64 * GIB);
    world_add(&input, 0, 1, 8 * GIB);
    int urgent = world_add(&input, 0, 1, GIB);
    input.vms[urgent].priority = 5;
    input.hosts[0].slots = 1;
    world_plan(&input, &plan);
    cr_assert_eq(plan.schedule.timeline.moves[urgent].begin, 0);
    plan_done(&plan);
    plan_input_done(&input);
}

/* In the middle: half of a VM is sent, its room is held already, and it runs slower than its NIC.
 */
Test(plan_schedule, a_running_move_goes_on_with_what_is_left_at_its_measured_rate)
{
    struct plan_input input;
    struct plan plan;
    world_init(&input, 2, GBIT, 0);
    int vm = world_add(&input, 0, 1, 8 * GIB);
    input.vms[vm].is_running = true;
    input.vms[vm].memory_left_bytes = 4 * (double)GIB;
    input.vms[vm].measured_bytes_per_s = GBIT / 2;
    world_plan(&input, &plan);
    is_near(plan.schedule.timeline.makespan, 4 * (double)GIB / (GBIT / 2));
    cr_assert_eq(plan.schedule.timeline.moves[0].begin, 0);
    plan_done(&plan);
    plan_input_done(&input);
}

Test(plan_schedule, no_more_at_once_than_allowed)
{
    struct plan_input input;
    struct plan plan;
    world_init(&input, 8, GBIT, 64 * GIB);
    input.options.at_once = 2;
    for (int i = 0; i < 4; i++)
        world_add(&input, 2 * i, 2 * i + 1, GIB);
    world_plan(&input, &plan);
    is_near(plan.schedule.timeline.makespan, 2 * (double)GIB / GBIT);
    cr_assert_eq(plan.bound.kind, PLAN_BOUND_SLOTS);
    plan_done(&plan);
    plan_input_done(&input);
}

Test(plan_simulation, a_plan_takes_as_long_as_planned_when_all_is_as_planned)
{
    struct plan_input input;
    struct plan plan;
    struct plan_simulation simulation;
    world_init(&input, 4, GBIT, 4 * GIB);
    for (int i = 0; i < 12; i++)
        world_add(&input, i % 4, (i + 1) % 4, 2 * GIB);
    world_plan(&input, &plan);
    plan_simulation_run(&plan.model, &plan.schedule.timeline, 0, &simulation);
    cr_assert_eq(simulation.unfinished, 0);
    is_near(simulation.makespan, plan.schedule.timeline.makespan);
    plan_simulation_done(&simulation);
    plan_simulation_run(&plan.model, NULL, 1, &simulation);
    is_near(simulation.makespan, 12 * 2 * (double)GIB / GBIT);
    cr_assert_eq(simulation.most_at_once, 1);
    plan_simulation_done(&simulation);
    plan_done(&plan);
    plan_input_done(&input);
}

Test(plan_simulation, slower_links_than_planned_delay_and_lose_nothing)
{
    struct plan_input input;
    struct plan plan;
    struct plan_model slower;
    struct plan_simulation simulation;
    world_init(&input, 4, GBIT, 4 * GIB);
    for (int i = 0; i < 12; i++)
        world_add(&input, i % 4, (i + 1) % 4, 2 * GIB);
    world_plan(&input, &plan);
    for (int i = 0; i < 4; i++)
        input.hosts[i].send_bytes_per_s = GBIT / 2;
    plan_model_init(&slower, &input);
    plan_model_add_like(&slower, &input, &plan.model);
    plan_simulation_run(&slower, &plan.schedule.timeline, 0, &simulation);
    cr_assert_eq(simulation.unfinished, 0);
    cr_assert(simulation.makespan > 1.9 * plan.schedule.timeline.makespan);
    plan_simulation_done(&simulation);
    plan_model_done(&slower);
    plan_done(&plan);
    plan_input_done(&input);
}
