/* Small inputs; see world.h. */
#include "world.h"

#include "base/memory.h"

#include <criterion/criterion.h>
#include <stdio.h>

void world_init(struct plan_input *input, int hosts, double rate, uint64_t memory_free)
{
    *input = (struct plan_input){.host_count = (size_t)hosts, .pool_count = 1};
    input->pools = memory_array(1, sizeof *input->pools);
    input->hosts = memory_array((size_t)hosts, sizeof *input->hosts);
    input->network_map = memory_array(1, sizeof *input->network_map);
    input->options = (struct plan_options){.may_help = true, .effort = 100000};
    for (int i = 0; i < hosts; i++) {
        struct plan_host *host = &input->hosts[i];
        snprintf(host->name.text, sizeof host->name.text, "h%d", i);
        host->send_bytes_per_s = host->receive_bytes_per_s = rate;
        host->memory_free_bytes = memory_free;
        host->slots = 4;
        host->is_destination = host->may_help = true;
    }
}

int world_add(struct plan_input *input, int from, int to, uint64_t memory)
{
    input->vms = memory_resize(input->vms, input->vm_count + 1, sizeof *input->vms);
    struct plan_vm *vm = &input->vms[input->vm_count];
    *vm = (struct plan_vm){.host = from,
                           .destination = to < 0 ? -1 : to,
                           .is_wanted = to != -2,
                           .memory_bytes = memory};
    snprintf(vm->name.text, sizeof vm->name.text, "v%zu", input->vm_count);
    return (int)input->vm_count++;
}

void world_plan(const struct plan_input *input, struct plan *plan)
{
    plan_make(input, plan);
    cr_assert_eq(plan->refusals.count, 0, "%s",
                 plan->refusals.count ? plan->refusals.items[0].message : "");
}

/* What host `host` sends, or receives, at that moment. */
static double used(const struct plan *plan, int host, bool is_sending, double now)
{
    double sum = 0;
    for (int i = 0; i < plan->model.move_count; i++) {
        const struct plan_move *move = &plan->model.moves[i];
        if ((is_sending ? move->from : move->to) != host)
            continue;
        for (int s = plan->schedule.timeline.moves[i].first; s >= 0;
             s = plan->schedule.timeline.spans[s].next) {
            const struct plan_span *span = &plan->schedule.timeline.spans[s];
            sum += span->begin <= now && now < span->end ? span->rate : 0;
        }
    }
    return sum;
}

void world_check_rates(const struct plan *plan)
{
    for (int s = 0; s < plan->schedule.timeline.span_count; s++) {
        double now = plan->schedule.timeline.spans[s].begin;
        for (int h = 0; h < plan->model.host_count; h++) {
            const double *most = plan->model.capacity + h;
            cr_assert_leq(used(plan, h, true, now), most[0] * (1 + 1e-7));
            cr_assert_leq(used(plan, h, false, now), most[plan->model.host_count] * (1 + 1e-7));
        }
    }
}
