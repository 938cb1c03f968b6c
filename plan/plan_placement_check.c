/* Rules and books of placement: what a host may take, and why no host does. */
#include "plan/plan_placement_state.h"

#include "base/memory.h"
#include "plan/plan_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_apart(const struct placer *placer, int vm, int host)
{
    const struct plan_input *input = placer->input;
    for (int g = placer->apart_begin[vm]; g < placer->apart_begin[vm + 1]; g++) {
        const struct plan_numbers *others = &input->groups[placer->apart_items[g]].vms;
        for (size_t i = 0; i < others->count; i++) {
            int other = others->items[i];
            bool stays = !input->vms[other].is_wanted || placer->is_refused[other];
            int there = stays ? input->vms[other].host : placer->host[other];
            if (other != vm && there == host)
                return false;
        }
    }
    return true;
}

/* All disks of the unit that go to one SR must fit there together. */
static bool has_space(const struct placer *placer, const struct unit *unit, int host)
{
    const struct plan_input *input = placer->input;
    struct {
        int sr;
        int64_t bytes;
    } sums[LIMIT_DISKS];
    int count = 0;
    for (int u = 0; u < unit->count; u++) {
        const struct plan_vm *vm = &input->vms[unit->vms[u]];
        for (size_t d = 0; d < vm->disk_count; d++) {
            int sr = plan_fit_sr(input, host, &vm->disks[d]), s = 0;
            if (sr < 0 || sr == vm->disks[d].sr)
                continue;
            while (s < count && sums[s].sr != sr)
                s++;
            if (s == LIMIT_DISKS)
                return false;
            if (s == count)
                sums[count++] = (__typeof__(sums[0])){sr, 0};
            sums[s].bytes += (int64_t)plan_fit_room(&input->srs[sr], &vm->disks[d]);
            if (sums[s].bytes > placer->space[sr])
                return false;
        }
    }
    return true;
}

enum plan_fit placer_check(const struct placer *placer, const struct unit *unit, int host, int *vm)
{
    const struct plan_input *input = placer->input;
    *vm = unit->vms[0];
    if (!input->hosts[host].is_destination)
        return PLAN_FIT_NOT_A_DESTINATION;
    for (int u = 0; u < unit->count; u++) {
        *vm = unit->vms[u];
        enum plan_fit reason = plan_fit(input, *vm, host);
        if (reason == PLAN_FIT && !is_apart(placer, *vm, host))
            reason = PLAN_FIT_APART;
        if (reason != PLAN_FIT)
            return reason;
    }
    *vm = unit->vms[0];
    if ((int64_t)unit->memory_bytes > placer->memory[host])
        return PLAN_FIT_MEMORY;
    return has_space(placer, unit, host) ? PLAN_FIT : PLAN_FIT_SR_ROOM;
}

static void append(char **text, const char *more)
{
    char *joined = memory_format("%s%s%s", *text ? *text : "", *text ? "; " : "", more);
    free(*text);
    *text = joined;
}

static int64_t most_memory(const struct placer *placer)
{
    int64_t most = 0;
    for (size_t h = 0; h < placer->input->host_count; h++) {
        if (placer->input->hosts[h].is_destination && placer->memory[h] > most)
            most = placer->memory[h];
    }
    return most;
}

char *placer_explain(const struct placer *placer, const struct unit *unit)
{
    const struct plan_input *input = placer->input;
    int hosts[PLAN_FIT_COUNT] = {0}, first[PLAN_FIT_COUNT] = {0}, vms[PLAN_FIT_COUNT] = {0};
    for (size_t h = 0; h < input->host_count; h++) {
        int vm = 0;
        enum plan_fit reason = placer_check(placer, unit, (int)h, &vm);
        if (hosts[reason]++ == 0) {
            first[reason] = (int)h;
            vms[reason] = vm;
        }
    }
    char *text = NULL;
    for (int reason = PLAN_FIT + 1; reason < PLAN_FIT_COUNT; reason++) {
        char one[512], line[700];
        if (hosts[reason] == 0)
            continue;
        plan_fit_say(input, vms[reason], first[reason], (enum plan_fit)reason, one, sizeof one);
        snprintf(line, sizeof line, "%d of %zu hosts (%s): %s", hosts[reason], input->host_count,
                 plan_fit_codes[reason], one);
        append(&text, line);
    }
    if (hosts[PLAN_FIT_MEMORY]) {
        char line[160];
        snprintf(line, sizeof line,
                 "needed are %llu bytes of memory on one host, the most left is %lld",
                 (unsigned long long)unit->memory_bytes, (long long)most_memory(placer));
        append(&text, line);
    }
    return text ? text : memory_copy_text("there is no other host");
}

int placer_link(const struct placer *placer, int from, int to)
{
    const struct plan_input *input = placer->input;
    size_t pools = input->pool_count;
    return placer->link_of[(size_t)input->hosts[from].pool * pools + (size_t)input->hosts[to].pool];
}

void placer_book(struct placer *placer, int vm, int host, int sign)
{
    const struct plan_input *input = placer->input;
    const struct plan_vm *guest = &input->vms[vm];
    const struct plan_host *to = &input->hosts[host];
    int link = placer_link(placer, guest->host, host);
    double wire = (double)guest->memory_bytes;
    placer->memory[host] -= sign * (int64_t)guest->memory_bytes;
    for (size_t d = 0; d < guest->disk_count; d++) {
        int sr = plan_fit_sr(input, host, &guest->disks[d]);
        if (sr < 0 || sr == guest->disks[d].sr)
            continue;
        placer->space[sr] -= sign * (int64_t)plan_fit_room(&input->srs[sr], &guest->disks[d]);
        wire += (double)guest->disks[d].allocated_bytes;
    }
    placer->receives[host] += sign * wire / to->receive_bytes_per_s;
    if (link >= 0)
        placer->carries[link] += sign * wire / input->links[link].bytes_per_s;
    placer->host[vm] = sign > 0 ? host : -1;
}
