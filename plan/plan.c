/* Puts a plan together; see plan.h. */
#include "plan/plan.h"

#include "base/memory.h"
#include "plan/plan_detours.h"
#include "plan/plan_placement.h"

#include <stdlib.h>

static void add_problem(struct plan *plan, char *text)
{
    plan->problems = memory_resize(plan->problems, plan->problem_count + 1, sizeof *plan->problems);
    plan->problems[plan->problem_count++] = text;
}

static void add_moves(const struct plan *plan, const struct plan_input *input,
                      const struct plan_placement *placement, struct plan_model *model)
{
    bool *is_refused = memory_array(input->vm_count, sizeof *is_refused);
    for (size_t i = 0; i < plan->refusals.count; i++)
        is_refused[plan->refusals.items[i].vm] = true;
    for (int i = 0; i < (int)input->vm_count; i++) {
        if (placement->host[i] >= 0 && !is_refused[i])
            plan_model_add(model, input, i, input->vms[i].host, placement->host[i]);
    }
    free(is_refused);
}

/* Of the moves as they were asked for. No VM moves twice unless it must, so that a third host could
 * help counts only where one does. */
static void find_bound(struct plan *plan, const struct plan_input *input,
                       const struct plan_placement *placement)
{
    struct plan_model direct;
    plan_model_init(&direct, input);
    add_moves(plan, input, placement, &direct);
    plan_bound_find(&direct, plan_detours_exist(&plan->model), &plan->bound);
    plan_model_done(&direct);
}

static void check_deadline(struct plan *plan, const struct plan_input *input)
{
    const struct plan_options *options = &input->options;
    int late = 0;
    if (!options->has_deadline)
        return;
    if (options->deadline_s <= 0) {
        add_problem(plan,
                    memory_format("the deadline is in the past (%.0f s ago); name a later one. "
                                  "The plan below ignores it",
                                  -options->deadline_s));
        return;
    }
    for (int i = 0; i < plan->model.move_count; i++)
        late += plan->schedule.timeline.moves[i].end > options->deadline_s;
    if (plan->bound.seconds > options->deadline_s)
        add_problem(plan,
                    memory_format("no plan can meet the deadline of %.0f s: at least %.0f s are "
                                  "needed. %d moves end later",
                                  options->deadline_s, plan->bound.seconds, late));
    else if (late)
        add_problem(plan,
                    memory_format("this plan misses the deadline of %.0f s: %d moves end later, "
                                  "the last after %.0f s",
                                  options->deadline_s, late, plan->schedule.timeline.makespan));
}

void plan_make(const struct plan_input *input, struct plan *plan)
{
    struct plan_placement placement;
    *plan = (struct plan){0};
    plan_placement_find(input, &placement, &plan->refusals);
    plan_model_init(&plan->model, input);
    add_moves(plan, input, &placement, &plan->model);
    plan_schedule_begin(&plan->model, input, &plan->schedule, &plan->refusals);
    plan_detours_add(&plan->model, input, &plan->schedule);
    find_bound(plan, input, &placement);
    plan_placement_done(&placement);
    plan_schedule_improve(&plan->model, &input->options, plan->bound.seconds, &plan->schedule);
    check_deadline(plan, input);
}

void plan_done(struct plan *plan)
{
    for (size_t i = 0; i < plan->problem_count; i++)
        free(plan->problems[i]);
    free(plan->problems);
    plan_schedule_done(&plan->schedule);
    plan_model_done(&plan->model);
    plan_refusals_done(&plan->refusals);
    *plan = (struct plan){0};
}

double plan_pause_s(const struct plan *plan, const struct plan_input *input, int index)
{
    const struct plan_times *times = &plan->schedule.timeline.moves[index];
    double rate = times->last >= 0 ? plan->schedule.timeline.spans[times->last].rate : 0;
    return plan_model_pause_s(input, plan->model.moves[index].vm, rate);
}
