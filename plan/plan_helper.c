/* The cheapest detour that lets another move start; see plan_helper.h. */
#include "plan/plan_helper.h"

#include "base/memory.h"
#include "plan/plan_fit.h"

#include <math.h>
#include <stdlib.h>

struct search {
    const struct plan_model *model;
    const struct plan_input *input;
    const struct plan_engine_result *stuck;
    int64_t *left;    /* of each host: memory once everything has moved */
    int64_t *missing; /* of each host: least bytes that let a waiting move in; INT64_MAX = none */
};

static void look_at_hosts(struct search *s)
{
    const struct plan_model *model = s->model;
    for (int h = 0; h < model->host_count; h++) {
        s->left[h] = s->stuck->room[h];
        s->missing[h] = INT64_MAX;
    }
    for (int i = 0; i < model->move_count; i++) {
        const struct plan_move *move = &model->moves[i];
        if (!s->stuck->is_waiting[i] || move->take_count == 0)
            continue;
        int64_t missing = move->takes[0].bytes - s->stuck->room[move->to];
        s->left[move->to] -= move->takes[0].bytes;
        s->left[move->from] += move->gives[0].bytes;
        if (missing < s->missing[move->to])
            s->missing[move->to] = missing;
    }
}

static bool has_space(const struct search *s, const struct plan_vm *vm, int host)
{
    const struct plan_input *input = s->input;
    for (size_t d = 0; d < vm->disk_count; d++) {
        int64_t wanted = 0;
        int sr = plan_fit_sr(input, host, &vm->disks[d]);
        for (size_t i = 0; i <= d && sr >= 0; i++) {
            if (plan_fit_sr(input, host, &vm->disks[i]) == sr && sr != vm->disks[i].sr)
                wanted += (int64_t)plan_fit_room(&input->srs[sr], &vm->disks[i]);
        }
        if (sr < 0 || wanted > s->stuck->room[s->model->host_count + sr])
            return false;
    }
    return true;
}

/* A helper must be able to send the VM on as well, disks included. */
static bool goes_on(const struct search *s, const struct plan_vm *vm, int by, int to)
{
    for (size_t d = 0; d < vm->disk_count; d++) {
        struct plan_disk there = vm->disks[d];
        int own = plan_fit_sr(s->input, to, &vm->disks[d]);
        there.sr = plan_fit_sr(s->input, by, &vm->disks[d]);
        if (there.sr < 0 || plan_fit_sr(s->input, to, &there) != own)
            return false;
    }
    return true;
}

static bool can_help(const struct search *s, const struct plan_move *move, int host)
{
    const struct plan_host *helper = &s->input->hosts[host];
    const struct plan_vm *vm = &s->input->vms[move->vm];
    return host != move->from && host != move->to && helper->may_help &&
           s->stuck->room[host] >= (int64_t)vm->memory_bytes &&
           plan_fit(s->input, move->vm, host) == PLAN_FIT && has_space(s, vm, host) &&
           goes_on(s, vm, host, move->to);
}

/* Seconds on the narrowest NIC, longer when the VM takes room that others will need there, or when
 * it lets nobody in where it leaves. */
static double cost(const struct search *s, const struct plan_move *move, int host)
{
    const struct plan_vm *vm = &s->input->vms[move->vm];
    double rate = fmin(s->input->hosts[move->from].send_bytes_per_s,
                       s->input->hosts[host].receive_bytes_per_s);
    double seconds = move->seconds + (double)vm->memory_bytes / rate;
    if (s->left[host] < (int64_t)vm->memory_bytes)
        seconds *= 4;
    if (s->missing[move->from] > (int64_t)vm->memory_bytes)
        seconds *= 64;
    return seconds;
}

bool plan_helper_find(const struct plan_model *model, const struct plan_input *input,
                      const struct plan_engine_result *stuck, int *move, int *host)
{
    struct search s = {.model = model, .input = input, .stuck = stuck};
    double least = INFINITY;
    s.left = memory_array((size_t)model->host_count, sizeof *s.left);
    s.missing = memory_array((size_t)model->host_count, sizeof *s.missing);
    look_at_hosts(&s);
    for (int i = 0; i < model->move_count; i++) {
        if (!stuck->is_waiting[i] || model->moves[i].is_helper)
            continue;
        for (int h = 0; h < model->host_count; h++) {
            if (stuck->room[h] <= 0)
                continue;
            double seconds = cost(&s, &model->moves[i], h);
            if (seconds >= least || !can_help(&s, &model->moves[i], h))
                continue;
            least = seconds;
            *move = i;
            *host = h;
        }
    }
    free(s.left);
    free(s.missing);
    return isfinite(least);
}
