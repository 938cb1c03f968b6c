/* Placement: the largest first, each on the host that is done soonest; see plan_placement.h. */
#include "plan/plan_placement_state.h"

#include "base/memory.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void refuse(struct placer *placer, int vm, const char *code, char *message)
{
    if (!placer->is_refused[vm])
        plan_refusals_add(placer->refusals, vm, code, message);
    else
        free(message);
    placer->is_refused[vm] = true;
}

static void refuse_unit(struct placer *placer, const struct unit *unit, const char *code,
                        const char *message)
{
    for (int u = 0; u < unit->count; u++)
        refuse(placer, unit->vms[u], code, memory_copy_text(message));
}

/* What never can move, whatever the hosts are. */
static void refuse_fixed(struct placer *placer)
{
    const struct plan_input *input = placer->input;
    for (int i = 0; i < (int)input->vm_count; i++) {
        const struct plan_vm *vm = &input->vms[i];
        if (!vm->is_wanted)
            continue;
        if (vm->is_pinned)
            refuse(placer, i, "pinned",
                   memory_format("it is pinned to host %s; unpin it, or leave the host running",
                                 input->hosts[vm->host].name.text));
        else if (vm->why_not[0])
            refuse(placer, i, "not-movable", memory_copy_text(vm->why_not));
    }
}

/* What leaves gives its room back in the end. */
static void count_room(struct placer *placer)
{
    const struct plan_input *input = placer->input;
    for (size_t h = 0; h < input->host_count; h++)
        placer->memory[h] = (int64_t)input->hosts[h].memory_free_bytes;
    for (size_t s = 0; s < input->sr_count; s++)
        placer->space[s] = (int64_t)input->srs[s].free_bytes;
    for (size_t i = 0; i < input->vm_count; i++) {
        const struct plan_vm *vm = &input->vms[i];
        if (vm->is_wanted && !placer->is_refused[i])
            placer->memory[vm->host] += (int64_t)vm->memory_bytes;
    }
}

/* A running move holds its room already, so what it is booked with is given back. */
static void place_running(struct placer *placer)
{
    const struct plan_input *input = placer->input;
    for (int i = 0; i < (int)input->vm_count; i++) {
        const struct plan_vm *vm = &input->vms[i];
        if (!vm->is_running)
            continue;
        placer_book(placer, i, vm->destination, 1);
        placer->memory[vm->destination] += (int64_t)vm->memory_bytes;
        for (size_t d = 0; d < vm->disk_count; d++) {
            int sr = plan_fit_sr(input, vm->destination, &vm->disks[d]);
            if (sr >= 0 && sr != vm->disks[d].sr)
                placer->space[sr] += (int64_t)plan_fit_room(&input->srs[sr], &vm->disks[d]);
        }
    }
}

static void book_unit(struct placer *placer, const struct unit *unit, int host)
{
    for (int u = 0; u < unit->count; u++)
        placer_book(placer, unit->vms[u], host, 1);
}

/* Seconds until the last of NIC and links is done with the unit there; among hosts behind one busy
 * link the NIC still counts a little. */
static double cost(const struct placer *placer, const struct unit *unit, int host)
{
    const struct plan_input *input = placer->input;
    const struct plan_host *to = &input->hosts[host];
    int source = input->vms[unit->vms[0]].host, link = placer_link(placer, source, host);
    if (placer->is_tight)
        return (double)(placer->memory[host] - (int64_t)unit->memory_bytes);
    double nic = placer->receives[host] + unit->wire_bytes / to->receive_bytes_per_s;
    double seconds = nic;
    if (link >= 0)
        seconds = fmax(seconds,
                       placer->carries[link] + unit->wire_bytes / input->links[link].bytes_per_s);
    return fmax(seconds, unit->wire_bytes / input->hosts[source].send_bytes_per_s) + nic / 100;
}

static int choose(const struct placer *placer, const struct unit *unit)
{
    int best = -1;
    double least = INFINITY;
    for (int h = 0; h < (int)placer->input->host_count; h++) {
        int vm;
        if (placer->memory[h] < (int64_t)unit->memory_bytes ||
            !placer->input->hosts[h].is_destination)
            continue;
        double seconds = cost(placer, unit, h);
        if (seconds >= least || placer_check(placer, unit, h, &vm) != PLAN_FIT)
            continue;
        best = h;
        least = seconds;
    }
    return best;
}

/* Where the unit must go: a member's own wish, or where a member of the group stays. -1 = anywhere,
 * -2 = the members contradict each other. */
static int fixed_host(const struct placer *placer, const struct unit *unit)
{
    const struct plan_input *input = placer->input;
    int fixed = -1, group = placer->together[unit->vms[0]];
    for (int u = 0; u < unit->count; u++) {
        int wish = input->vms[unit->vms[u]].destination;
        if (wish >= 0 && fixed >= 0 && wish != fixed)
            return -2;
        fixed = wish >= 0 ? wish : fixed;
    }
    for (size_t i = 0; group >= 0 && i < input->groups[group].vms.count; i++) {
        int vm = input->groups[group].vms.items[i];
        if (input->vms[vm].is_wanted && !placer->is_refused[vm] && !input->vms[vm].is_running)
            continue;
        int stays = input->vms[vm].is_running ? input->vms[vm].destination : input->vms[vm].host;
        if (fixed >= 0 && fixed != stays)
            return -2;
        fixed = stays;
    }
    return fixed;
}

static void place_fixed(struct placer *placer, const struct unit *unit, int host)
{
    int vm;
    enum plan_fit reason = placer_check(placer, unit, host, &vm);
    if (reason == PLAN_FIT) {
        book_unit(placer, unit, host);
        return;
    }
    char one[512];
    plan_fit_say(placer->input, vm, host, reason, one, sizeof one);
    char *message =
        memory_format("it shall go to host %s, but %s", placer->input->hosts[host].name.text, one);
    refuse_unit(placer, unit, plan_fit_codes[reason], message);
    free(message);
}

static void place_unit(struct placer *placer, const struct unit *unit)
{
    int host = fixed_host(placer, unit);
    if (host == -2) {
        refuse_unit(placer, unit, "together",
                    "its group is to stay together, but members stay or are sent elsewhere");
        return;
    }
    if (host >= 0) {
        place_fixed(placer, unit, host);
        return;
    }
    host = choose(placer, unit);
    if (host >= 0) {
        book_unit(placer, unit, host);
        return;
    }
    char *why = placer_explain(placer, unit);
    char *message = memory_format("no host can take %s: %s",
                                  unit->count > 1 ? "its group together" : "it", why);
    refuse_unit(placer, unit, "no-host", message);
    free(why);
    free(message);
}

static void add_to_unit(struct unit *unit, const struct plan_vm *vm)
{
    unit->count++;
    unit->memory_bytes += vm->memory_bytes;
    unit->wire_bytes += (double)vm->memory_bytes;
    for (size_t d = 0; d < vm->disk_count; d++)
        unit->wire_bytes += (double)vm->disks[d].allocated_bytes;
    if (unit->count == 1 || vm->priority > unit->priority)
        unit->priority = vm->priority;
}

/* Fixed ones before free ones, then by priority, the largest first. */
static int compare_units(const void *a, const void *b, void *context)
{
    const struct plan_input *input = context;
    const struct unit *left = a, *right = b;
    int fixed =
        (input->vms[right->vms[0]].destination >= 0) - (input->vms[left->vms[0]].destination >= 0);
    if (fixed || left->priority != right->priority)
        return fixed ? fixed : right->priority - left->priority;
    if (left->memory_bytes != right->memory_bytes)
        return left->memory_bytes < right->memory_bytes ? 1 : -1;
    if (left->wire_bytes > right->wire_bytes || left->wire_bytes < right->wire_bytes)
        return left->wire_bytes < right->wire_bytes ? 1 : -1;
    return left->vms[0] - right->vms[0];
}

static bool is_to_place(const struct placer *placer, int vm)
{
    const struct plan_vm *v = &placer->input->vms[vm];
    return v->is_wanted && !v->is_running && !placer->is_refused[vm];
}

/* Units in `units`, their VMs in `members`; how many. */
static int make_units(const struct placer *placer, struct unit *units, int *members)
{
    const struct plan_input *input = placer->input;
    bool *is_taken = memory_array(input->vm_count, sizeof *is_taken);
    int count = 0, used = 0;
    for (int i = 0; i < (int)input->vm_count; i++) {
        if (!is_to_place(placer, i) || is_taken[i])
            continue;
        struct unit *unit = &units[count++];
        const struct plan_numbers one = {.items = &i, .count = 1};
        const struct plan_numbers *group =
            placer->together[i] >= 0 ? &input->groups[placer->together[i]].vms : &one;
        *unit = (struct unit){.vms = members + used};
        for (size_t g = 0; g < group->count; g++) {
            int vm = group->items[g];
            if (!is_to_place(placer, vm) || is_taken[vm])
                continue;
            is_taken[vm] = true;
            members[used++] = vm;
            add_to_unit(unit, &input->vms[vm]);
        }
    }
    free(is_taken);
    qsort_r(units, (size_t)count, sizeof *units, compare_units, (void *)input);
    return count;
}

static void index_groups(struct placer *placer)
{
    const struct plan_input *input = placer->input;
    size_t members = 0;
    for (size_t g = 0; g < input->group_count; g++)
        members += input->groups[g].vms.count;
    placer->apart_begin = memory_array(input->vm_count + 2, sizeof *placer->apart_begin);
    placer->apart_items = memory_array(members, sizeof *placer->apart_items);
    placer->together = memory_array(input->vm_count, sizeof *placer->together);
    for (size_t i = 0; i < input->vm_count; i++)
        placer->together[i] = -1;
    for (int pass = 0; pass < 2; pass++) {
        for (size_t g = 0; g < input->group_count; g++) {
            const struct plan_group *group = &input->groups[g];
            for (size_t i = 0; i < group->vms.count; i++) {
                int vm = group->vms.items[i];
                if (!group->is_apart)
                    placer->together[vm] = (int)g;
                else if (pass == 0)
                    placer->apart_begin[vm + 2]++;
                else
                    placer->apart_items[placer->apart_begin[vm + 1]++] = (int)g;
            }
        }
        for (size_t i = 2; pass == 0 && i < input->vm_count + 2; i++)
            placer->apart_begin[i] += placer->apart_begin[i - 1];
    }
}

static void index_links(struct placer *placer)
{
    const struct plan_input *input = placer->input;
    size_t pools = input->pool_count;
    placer->link_of = memory_array(pools * pools, sizeof *placer->link_of);
    for (size_t i = 0; i < pools * pools; i++)
        placer->link_of[i] = -1;
    for (size_t l = 0; l < input->link_count; l++)
        placer->link_of[(size_t)input->links[l].from * pools + (size_t)input->links[l].to] = (int)l;
}

static void placer_init(struct placer *placer, const struct plan_input *input, bool is_tight,
                        struct plan_refusals *refusals)
{
    *placer = (struct placer){.input = input, .is_tight = is_tight, .refusals = refusals};
    placer->host = memory_array(input->vm_count, sizeof *placer->host);
    placer->is_refused = memory_array(input->vm_count, sizeof *placer->is_refused);
    placer->memory = memory_array(input->host_count, sizeof *placer->memory);
    placer->space = memory_array(input->sr_count, sizeof *placer->space);
    placer->receives = memory_array(input->host_count, sizeof *placer->receives);
    placer->carries = memory_array(input->link_count, sizeof *placer->carries);
    for (size_t i = 0; i < input->vm_count; i++)
        placer->host[i] = -1;
    index_groups(placer);
    index_links(placer);
}

/* The caller keeps `host`. */
static void placer_done(struct placer *placer)
{
    free(placer->is_refused);
    free(placer->memory);
    free(placer->space);
    free(placer->receives);
    free(placer->carries);
    free(placer->apart_begin);
    free(placer->apart_items);
    free(placer->together);
    free(placer->link_of);
}

/* A VM that turns out to stay keeps its room, so a host may be overbooked then: the smallest that
 * were booked there stay too, until all fits. */
static bool unbook_one(struct placer *placer, int host)
{
    const struct plan_input *input = placer->input;
    int least = -1;
    for (int i = 0; i < (int)input->vm_count; i++) {
        if (placer->host[i] != host || input->vms[i].is_running)
            continue;
        if (least < 0 || input->vms[i].priority < input->vms[least].priority ||
            (input->vms[i].priority == input->vms[least].priority &&
             input->vms[i].memory_bytes < input->vms[least].memory_bytes))
            least = i;
    }
    if (least < 0)
        return false;
    placer_book(placer, least, host, -1);
    placer->memory[input->vms[least].host] -= (int64_t)input->vms[least].memory_bytes;
    refuse(placer, least, plan_fit_codes[PLAN_FIT_MEMORY],
           memory_format("host %s has no memory for it while others cannot leave that host",
                         input->hosts[host].name.text));
    return true;
}

static void settle(struct placer *placer)
{
    bool is_settled = false;
    while (!is_settled) {
        is_settled = true;
        for (int h = 0; h < (int)placer->input->host_count; h++) {
            while (placer->memory[h] < 0 && unbook_one(placer, h))
                is_settled = false;
        }
    }
}

static void attempt(const struct plan_input *input, bool is_tight, struct plan_placement *placement,
                    struct plan_refusals *refusals)
{
    struct placer placer;
    placer_init(&placer, input, is_tight, refusals);
    refuse_fixed(&placer);
    count_room(&placer);
    place_running(&placer);
    struct unit *units = memory_array(input->vm_count, sizeof *units);
    int *members = memory_array(input->vm_count, sizeof *members);
    int count = make_units(&placer, units, members);
    for (int i = 0; i < count; i++) {
        place_unit(&placer, &units[i]);
        for (int u = 0; u < units[i].count; u++) {
            int vm = units[i].vms[u];
            if (placer.is_refused[vm])
                placer.memory[input->vms[vm].host] -= (int64_t)input->vms[vm].memory_bytes;
        }
    }
    settle(&placer);
    *placement = (struct plan_placement){.host = placer.host, .vm_count = input->vm_count};
    free(units);
    free(members);
    placer_done(&placer);
}

void plan_placement_find(const struct plan_input *input, struct plan_placement *placement,
                         struct plan_refusals *refusals)
{
    struct plan_placement tight;
    struct plan_refusals more = {0};
    attempt(input, false, placement, refusals);
    if (refusals->count == 0)
        return;
    attempt(input, true, &tight, &more);
    if (more.count >= refusals->count) {
        plan_placement_done(&tight);
        plan_refusals_done(&more);
        return;
    }
    plan_placement_done(placement);
    plan_refusals_done(refusals);
    *placement = tight;
    *refusals = more;
}

void plan_placement_done(struct plan_placement *placement)
{
    free(placement->host);
    *placement = (struct plan_placement){0};
}
