/* What bounds a plan, and the plan as JSON; see plan_report.h. */
#include "plan/plan_report.h"

#include "base/memory.h"
#include "plan/plan_fit.h"

#include <stdio.h>
#include <stdlib.h>

static void name_room(const struct plan_input *input, int room, char *out, size_t size)
{
    int hosts = (int)input->host_count;
    if (room < 0)
        snprintf(out, size, "the free memory of all hosts");
    else if (room < hosts)
        snprintf(out, size, "the memory of host %.80s", input->hosts[room].name.text);
    else
        snprintf(out, size, "the space of SR %.80s", input->srs[room - hosts].name.text);
}

void plan_report_bottleneck(const struct plan *plan, const struct plan_input *input, char *out,
                            size_t size)
{
    const struct plan_bound *bound = &plan->bound;
    char name[160];
    switch (bound->kind) {
    case PLAN_BOUND_NIC:
    case PLAN_BOUND_LINK:
    case PLAN_BOUND_SR:
        plan_model_resource_name(input, bound->resource, out, size);
        break;
    case PLAN_BOUND_MOVE:
        snprintf(out, size, "the longest single move, of VM %.80s",
                 input->vms[bound->vm].name.text);
        break;
    case PLAN_BOUND_SLOTS:
        if (bound->host < 0)
            snprintf(out, size, "the number of moves at once in all");
        else
            snprintf(out, size, "the number of moves at once of host %.80s",
                     input->hosts[bound->host].name.text);
        break;
    case PLAN_BOUND_MEMORY:
        name_room(input, bound->room, out, size);
        break;
    case PLAN_BOUND_PATH:
        name_room(input, bound->room, name, sizeof name);
        snprintf(out, size, "%s, which others must leave first", name);
        break;
    case PLAN_BOUND_NONE:
    case PLAN_BOUND_COUNT:
        snprintf(out, size, "nothing");
        break;
    }
}

/* Microseconds, and bytes/s to the millionth: what is below is rounding. */
static json_t *number(double value)
{
    return json_real((double)(int64_t)(value * 1e6 + 0.5) / 1e6);
}

static json_t *rates_json(const struct plan_timeline *timeline, int move)
{
    json_t *rates = json_array();
    for (int s = timeline->moves[move].first; s >= 0; s = timeline->spans[s].next) {
        const struct plan_span *span = &timeline->spans[s];
        json_t *one = json_object();
        json_object_set_new(one, "begin_s", number(span->begin));
        json_object_set_new(one, "end_s", number(span->end));
        json_object_set_new(one, "bytes_per_s", number(span->rate));
        json_array_append_new(rates, one);
    }
    return rates;
}

static json_t *move_json(const struct plan *plan, const struct plan_input *input, int index)
{
    const struct plan_move *move = &plan->model.moves[index];
    const struct plan_times *times = &plan->schedule.timeline.moves[index];
    json_t *one = json_object();
    json_object_set_new(one, "vm", json_string(input->vms[move->vm].name.text));
    json_object_set_new(one, "from", json_string(input->hosts[move->from].name.text));
    json_object_set_new(one, "to", json_string(input->hosts[move->to].name.text));
    json_object_set_new(one, "is_running", json_boolean(move->is_running));
    json_object_set_new(one, "is_helper", json_boolean(move->is_helper));
    json_object_set_new(one, "after", move->after < 0 ? json_null() : json_integer(move->after));
    json_object_set_new(one, "begin_s", number(times->begin));
    json_object_set_new(one, "end_s", number(times->end));
    json_object_set_new(one, "pause_s", number(plan_pause_s(plan, input, index)));
    json_object_set_new(one, "rates", rates_json(&plan->schedule.timeline, index));
    return one;
}

static json_t *bound_json(const struct plan *plan, const struct plan_input *input)
{
    char what[200];
    json_t *bound = json_object(), *kinds = json_object();
    plan_report_bottleneck(plan, input, what, sizeof what);
    json_object_set_new(bound, "seconds", number(plan->bound.seconds));
    json_object_set_new(bound, "kind", json_string(plan_bound_names[plan->bound.kind]));
    json_object_set_new(bound, "what", json_string(what));
    for (int k = PLAN_BOUND_NONE + 1; k < PLAN_BOUND_COUNT; k++)
        json_object_set_new(kinds, plan_bound_names[k], number(plan->bound.by_kind[k]));
    json_object_set_new(bound, "each", kinds);
    return bound;
}

static json_t *refused_json(const struct plan *plan, const struct plan_input *input)
{
    json_t *refused = json_array();
    for (size_t i = 0; i < plan->refusals.count; i++) {
        const struct plan_refusal *refusal = &plan->refusals.items[i];
        json_t *one = json_object();
        json_object_set_new(one, "vm", json_string(input->vms[refusal->vm].name.text));
        json_object_set_new(one, "code", json_string(refusal->code));
        json_object_set_new(one, "message", json_string(refusal->message));
        json_array_append_new(refused, one);
    }
    return refused;
}

char *plan_report_json(const struct plan *plan, const struct plan_input *input)
{
    double makespan = plan->schedule.timeline.makespan, bound = plan->bound.seconds;
    json_t *moves = json_array(), *problems = json_array(), *root = json_object();
    for (int i = 0; i < plan->model.move_count; i++)
        json_array_append_new(moves, move_json(plan, input, i));
    for (size_t i = 0; i < plan->problem_count; i++)
        json_array_append_new(problems, json_string(plan->problems[i]));
    json_object_set_new(root, "makespan_s", number(makespan));
    json_object_set_new(root, "bound", bound_json(plan, input));
    json_object_set_new(root, "gap", number(bound > 0 ? makespan / bound - 1 : 0));
    json_object_set_new(root, "tries", json_integer(plan->schedule.tries));
    json_object_set_new(root, "problems", problems);
    json_object_set_new(root, "refused", refused_json(plan, input));
    json_object_set_new(root, "moves", moves);
    char *text = json_dumps(root, JSON_COMPACT | JSON_PRESERVE_ORDER);
    json_decref(root);
    if (!text)
        abort(); /* only memory can be missing: names are valid UTF-8, as JSON came in */
    return text;
}
