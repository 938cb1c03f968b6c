/* crosspool simulate: plays the plan in virtual time, and what a capped policy would have done. */
#include "cli/commands.h"

#include "base/json.h"
#include "base/memory.h"
#include "cli/documents.h"
#include "cli/options.h"
#include "plan/plan.h"
#include "plan/plan_simulation.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct result {
    const struct plan *plan;
    const struct plan_input *input; /* as it turned out */
    const struct plan_model *model;
    struct plan_simulation planned, capped;
    int cap;
};

static void find_pauses(const struct result *r, const struct plan_simulation *simulation,
                        double *longest, double *sum)
{
    *longest = *sum = 0;
    for (int i = 0; i < simulation->move_count; i++) {
        double pause = plan_model_pause_s(r->input, r->model->moves[i].vm, simulation->rate[i]);
        *longest = fmax(*longest, pause);
        *sum += pause;
    }
}

/* The most used resource of NICs, links and SRs. */
static int busiest(const struct plan_simulation *simulation)
{
    int best = 0;
    for (int k = 1; k < simulation->resource_count; k++) {
        if (simulation->peak[k] > simulation->peak[best])
            best = k;
    }
    return best;
}

static json_t *peaks_json(const struct result *r, const struct plan_simulation *simulation)
{
    json_t *peaks = json_array();
    for (int k = 0; k < simulation->resource_count; k++) {
        char name[200];
        if (simulation->peak[k] <= 0)
            continue;
        plan_model_resource_name(r->input, k, name, sizeof name);
        json_t *one = json_object();
        json_object_set_new(one, "what", json_string(name));
        json_object_set_new(one, "share", json_real(round(simulation->peak[k] * 1e6) / 1e6));
        json_array_append_new(peaks, one);
    }
    return peaks;
}

static json_t *simulation_json(const struct result *r, const struct plan_simulation *simulation)
{
    double longest, sum;
    json_t *one = json_object();
    find_pauses(r, simulation, &longest, &sum);
    json_object_set_new(one, "makespan_s", json_real(simulation->makespan));
    json_object_set_new(one, "unfinished", json_integer(simulation->unfinished));
    json_object_set_new(one, "most_at_once", json_integer(simulation->most_at_once));
    json_object_set_new(one, "longest_pause_s", json_real(longest));
    json_object_set_new(one, "pauses_s", json_real(sum));
    json_object_set_new(one, "peaks", peaks_json(r, simulation));
    return one;
}

static void print_json(const struct result *r)
{
    json_t *root = json_object();
    json_object_set_new(root, "planned_makespan_s", json_real(r->plan->schedule.timeline.makespan));
    json_object_set_new(root, "plan", simulation_json(r, &r->planned));
    json_t *capped = simulation_json(r, &r->capped);
    json_object_set_new(capped, "cap", json_integer(r->cap));
    json_object_set_new(root, "capped", capped);
    char *text = json_dumps(root, JSON_COMPACT | JSON_PRESERVE_ORDER);
    json_decref(root);
    puts(text ? text : "");
    free(text);
}

static void print_one(const struct result *r, const char *what,
                      const struct plan_simulation *simulation)
{
    char name[200] = "nothing";
    double longest, sum;
    int k = busiest(simulation);
    find_pauses(r, simulation, &longest, &sum);
    if (simulation->resource_count > 0)
        plan_model_resource_name(r->input, k, name, sizeof name);
    printf("%s: makespan %.1f s, at most %d at once, longest pause %.2f s, all pauses %.1f s\n",
           what, simulation->makespan, simulation->most_at_once, longest, sum);
    printf("  peak: %.0f%% of %s\n",
           simulation->resource_count > 0 ? 100 * simulation->peak[k] : 0.0, name);
    if (simulation->unfinished)
        printf("  %d moves never found room\n", simulation->unfinished);
}

static void print_text(const struct result *r)
{
    char *capped = memory_format("%d at a time", r->cap);
    printf("planned: makespan %.1f s\n", r->plan->schedule.timeline.makespan);
    print_one(r, "simulated", &r->planned);
    print_one(r, capped, &r->capped);
    if (r->capped.makespan > 0)
        printf("the plan takes %.2f of the time of %s\n", r->planned.makespan / r->capped.makespan,
               capped);
    free(capped);
}

static bool check_same(const struct plan_input *input, const struct plan_input *actual,
                       struct error *err)
{
    bool is_same = input->host_count == actual->host_count && input->vm_count == actual->vm_count &&
                   input->sr_count == actual->sr_count && input->link_count == actual->link_count;
    for (size_t i = 0; is_same && i < input->host_count; i++)
        is_same = strcmp(input->hosts[i].name.text, actual->hosts[i].name.text) == 0;
    for (size_t i = 0; is_same && i < input->vm_count; i++)
        is_same = strcmp(input->vms[i].name.text, actual->vms[i].name.text) == 0 &&
                  input->vms[i].host == actual->vms[i].host &&
                  input->vms[i].disk_count == actual->vms[i].disk_count;
    return is_same || error_set(err, ERROR_INVALID,
                                "--actual: expected the same hosts, SRs, links and VMs in the same "
                                "order as in --inventory; only sizes and rates may differ");
}

static void simulate(const struct options *options, const struct plan_input *input,
                     const struct plan_input *actual, bool *is_whole)
{
    struct plan plan;
    struct plan_model model;
    plan_make(input, &plan);
    plan_model_init(&model, actual);
    plan_model_add_like(&model, actual, &plan.model);
    struct result r = {.plan = &plan, .input = actual, .model = &model, .cap = options->cap};
    plan_simulation_run(&model, &plan.schedule.timeline, 0, &r.planned);
    plan_simulation_run(&model, NULL, options->cap, &r.capped);
    if (options->is_json)
        print_json(&r);
    else
        print_text(&r);
    *is_whole = plan.refusals.count == 0 && plan.problem_count == 0 && r.planned.unfinished == 0;
    plan_simulation_done(&r.planned);
    plan_simulation_done(&r.capped);
    plan_model_done(&model);
    plan_done(&plan);
}

bool command_simulate(const struct options *options, bool *is_whole, struct error *err)
{
    struct plan_input input, actual;
    if (!documents_read(options->inventory, options->request, &input, err))
        return false;
    const char *path = options->actual ? options->actual : options->inventory;
    bool is_done = documents_read(path, options->request, &actual, err);
    if (is_done) {
        is_done = check_same(&input, &actual, err);
        if (is_done)
            simulate(options, &input, &actual, is_whole);
        plan_input_done(&actual);
    }
    plan_input_done(&input);
    return is_done;
}
