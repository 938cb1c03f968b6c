/* Any two documents, parted by a NUL, as inventory and request: refused with a reason, or a plan
 * whose moves all end, that no bound is above, and that can be played. */
#include "plan/plan_report.h"
#include "plan/plan_resolve.h"
#include "plan/plan_simulation.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_plan(struct plan_input *input)
{
    struct plan plan;
    struct plan_simulation simulation;
    input->options.effort = 1000;
    plan_make(input, &plan);
    double makespan = plan.schedule.timeline.makespan;
    assert(isfinite(makespan) && plan.bound.seconds <= makespan * 1.001 + 1e-3);
    for (int i = 0; i < plan.model.move_count; i++)
        assert(plan.schedule.timeline.moves[i].end >= plan.schedule.timeline.moves[i].begin);
    free(plan_report_json(&plan, input));
    free(plan_report_text(&plan, input));
    plan_simulation_run(&plan.model, NULL, 3, &simulation);
    plan_simulation_done(&simulation);
    plan_done(&plan);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct plan_inventory inventory = {0};
    struct plan_request request = {0};
    struct plan_input input;
    struct error err = {.text = ""};
    const uint8_t *middle = size ? memchr(data, 0, size) : NULL;
    if (!middle)
        return 0;
    size_t first = (size_t)(middle - data), second = size - first - 1;
    if (json_decode_text((const char *)data, first, plan_inventory_fields, &inventory, &err) &&
        json_decode_text((const char *)middle + 1, second, plan_request_fields, &request, &err) &&
        plan_resolve(&inventory, &request, &input, &err)) {
        check_plan(&input);
        plan_input_done(&input);
    } else {
        assert(err.text[0]);
    }
    json_release(plan_inventory_fields, &inventory);
    json_release(plan_request_fields, &request);
    return 0;
}
