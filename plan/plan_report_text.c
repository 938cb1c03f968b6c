/* A plan as text for people; see plan_report.h. */
#include "base/buffer.h"
#include "base/memory.h"
#include "plan/plan_report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LIMIT_TEXT = 256 << 20 };

#define SAY(...)                                                                                   \
    do {                                                                                           \
        if (!buffer_printf(out, &err, __VA_ARGS__))                                                \
            return;                                                                                \
    } while (0)

static void say_moves(struct buffer *out, const struct plan *plan, const struct plan_input *input)
{
    struct error err;
    SAY("%10s %10s %8s  %s\n", "begin", "end", "pause", "move");
    for (int i = 0; i < plan->model.move_count; i++) {
        const struct plan_move *move = &plan->model.moves[i];
        const struct plan_times *times = &plan->schedule.timeline.moves[i];
        SAY("%9.1fs %9.1fs %7.2fs  %s: %s -> %s%s\n", times->begin, times->end,
            plan_pause_s(plan, input, i), input->vms[move->vm].name.text,
            input->hosts[move->from].name.text, input->hosts[move->to].name.text,
            move->is_helper ? (move->after < 0 ? " (makes way)" : " (from where it made way)")
                            : "");
    }
}

static void say_summary(struct buffer *out, const struct plan *plan, const struct plan_input *input)
{
    struct error err;
    char what[200];
    double makespan = plan->schedule.timeline.makespan, bound = plan->bound.seconds;
    plan_report_bottleneck(plan, input, what, sizeof what);
    SAY("%d moves, makespan %.1f s, lower bound %.1f s, gap %.1f%%\n", plan->model.move_count,
        makespan, bound, bound > 0 ? 100 * (makespan / bound - 1) : 0.0);
    SAY("bottleneck: %s\n", what);
}

static void say_problems(struct buffer *out, const struct plan *plan,
                         const struct plan_input *input)
{
    struct error err;
    for (size_t i = 0; i < plan->problem_count; i++)
        SAY("problem: %s\n", plan->problems[i]);
    if (plan->refusals.count)
        SAY("%zu VMs cannot move:\n", plan->refusals.count);
    for (size_t i = 0; i < plan->refusals.count; i++) {
        const struct plan_refusal *refusal = &plan->refusals.items[i];
        SAY("  %s [%s]: %s\n", input->vms[refusal->vm].name.text, refusal->code, refusal->message);
    }
}

char *plan_report_text(const struct plan *plan, const struct plan_input *input)
{
    struct buffer out;
    buffer_init(&out, LIMIT_TEXT);
    say_moves(&out, plan, input);
    say_summary(&out, plan, input);
    say_problems(&out, plan, input);
    char *text = buffer_take(&out);
    buffer_done(&out);
    return text;
}
