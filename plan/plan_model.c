/* From hosts and VMs to resources and moves; see plan_model.h. The formulas and their sources are
 * in docs/planning.md. */
#include "plan/plan_model.h"

#include "base/memory.h"
#include "plan/plan_fit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Resources are numbered: what hosts send, what they receive, links, SRs. */
int plan_model_send(const struct plan_input *input, int host)
{
    (void)input;
    return host;
}

int plan_model_receive(const struct plan_input *input, int host)
{
    return (int)input->host_count + host;
}

int plan_model_link(const struct plan_input *input, int from_pool, int to_pool)
{
    for (size_t i = 0; i < input->link_count; i++) {
        if (input->links[i].from == from_pool && input->links[i].to == to_pool)
            return 2 * (int)input->host_count + (int)i;
    }
    return -1;
}

int plan_model_sr(const struct plan_input *input, int sr)
{
    if (input->srs[sr].bytes_per_s <= 0)
        return -1;
    return 2 * (int)input->host_count + (int)input->link_count + sr;
}

void plan_model_resource_name(const struct plan_input *input, int resource, char *out, size_t size)
{
    int hosts = (int)input->host_count, links = (int)input->link_count;
    if (resource < hosts) {
        snprintf(out, size, "what host %.80s sends", input->hosts[resource].name.text);
    } else if (resource < 2 * hosts) {
        snprintf(out, size, "what host %.80s receives", input->hosts[resource - hosts].name.text);
    } else if (resource < 2 * hosts + links) {
        const struct plan_link *link = &input->links[resource - 2 * hosts];
        snprintf(out, size, "the link from pool %.60s to pool %.60s", input->pools[link->from].text,
                 input->pools[link->to].text);
    } else {
        snprintf(out, size, "SR %.80s", input->srs[resource - 2 * hosts - links].name.text);
    }
}

void plan_model_init(struct plan_model *model, const struct plan_input *input)
{
    int hosts = (int)input->host_count, links = (int)input->link_count;
    *model = (struct plan_model){.resource_count = 2 * hosts + links + (int)input->sr_count,
                                 .room_count = hosts + (int)input->sr_count,
                                 .host_count = hosts,
                                 .at_once = input->options.at_once,
                                 .handoff_s = input->options.handoff_s};
    model->capacity = memory_array((size_t)model->resource_count, sizeof *model->capacity);
    model->room = memory_array((size_t)model->room_count, sizeof *model->room);
    model->slots = memory_array((size_t)hosts, sizeof *model->slots);
    for (int i = 0; i < hosts; i++) {
        model->capacity[i] = input->hosts[i].send_bytes_per_s;
        model->capacity[hosts + i] = input->hosts[i].receive_bytes_per_s;
        model->room[i] = (int64_t)input->hosts[i].memory_free_bytes;
        model->slots[i] = input->hosts[i].slots;
    }
    for (int i = 0; i < links; i++)
        model->capacity[2 * hosts + i] = input->links[i].bytes_per_s;
    for (int i = 0; i < (int)input->sr_count; i++) {
        model->capacity[2 * hosts + links + i] = input->srs[i].bytes_per_s;
        model->room[hosts + i] = (int64_t)input->srs[i].free_bytes;
    }
}

static void move_done(struct plan_move *move)
{
    free(move->phases);
    free(move->takes);
    free(move->gives);
}

void plan_model_done(struct plan_model *model)
{
    for (int i = 0; i < model->move_count; i++)
        move_done(&model->moves[i]);
    free(model->moves);
    free(model->capacity);
    free(model->room);
    free(model->slots);
    *model = (struct plan_model){0};
}

double plan_phase_seconds(const struct plan_phase *phase)
{
    return phase->bytes / (phase->top_rate - phase->drain);
}

double plan_phase_wire(const struct plan_phase *phase)
{
    return plan_phase_seconds(phase) * phase->top_rate;
}

int64_t plan_move_wants(const struct plan_move *move, int take)
{
    int64_t bytes = 0;
    for (int i = 0; i <= take; i++)
        bytes += move->takes[i].room == move->takes[take].room ? move->takes[i].bytes : 0;
    return bytes;
}

static void use(struct plan_phase *phase, int resource)
{
    for (int i = 0; i < phase->use_count; i++) {
        if (phase->uses[i] == resource)
            return;
    }
    if (resource >= 0)
        phase->uses[phase->use_count++] = resource;
}

static void set_top_rate(const struct plan_model *model, struct plan_phase *phase, double measured)
{
    phase->top_rate = model->capacity[phase->uses[0]];
    for (int i = 1; i < phase->use_count; i++) {
        if (model->capacity[phase->uses[i]] < phase->top_rate)
            phase->top_rate = model->capacity[phase->uses[i]];
    }
    if (measured > 0 && measured < phase->top_rate)
        phase->top_rate = measured;
    /* a measured rate below what the guest writes now: the copy goes on, slowly */
    if (phase->top_rate < 1.05 * phase->drain)
        phase->top_rate = 1.05 * phase->drain;
}

static void add_phase(struct plan_model *model, const struct plan_input *input,
                      struct plan_move *move, double bytes, double drain,
                      const struct plan_disk *disk)
{
    struct plan_phase *phase = &move->phases[move->phase_count];
    const struct plan_vm *vm = &input->vms[move->vm];
    *phase = (struct plan_phase){.bytes = bytes, .drain = drain};
    use(phase, plan_model_send(input, move->from));
    use(phase, plan_model_receive(input, move->to));
    use(phase, plan_model_link(input, input->hosts[move->from].pool, input->hosts[move->to].pool));
    if (disk) {
        use(phase, plan_model_sr(input, disk->sr));
        use(phase, plan_model_sr(input, plan_fit_sr(input, move->to, disk)));
    }
    if (bytes <= 0)
        return;
    set_top_rate(model, phase, vm->is_running ? vm->measured_bytes_per_s : 0);
    move->seconds += plan_phase_seconds(phase);
    move->phase_count++;
}

static void add_disk_shares(const struct plan_input *input, struct plan_move *move,
                            const struct plan_disk *disk)
{
    int hosts = (int)input->host_count, sr = plan_fit_sr(input, move->to, disk);
    move->takes[move->take_count++] =
        (struct plan_share){hosts + sr, (int64_t)plan_fit_room(&input->srs[sr], disk)};
    move->gives[move->give_count++] =
        (struct plan_share){hosts + disk->sr, (int64_t)plan_fit_room(&input->srs[disk->sr], disk)};
}

/* A VM of a helper's second move is not where the input says: its disks are on the SRs that the
 * first move gave them. */
static void disk_at(const struct plan_input *input, const struct plan_move *move, size_t index,
                    struct plan_disk *disk)
{
    *disk = input->vms[move->vm].disks[index];
    if (input->vms[move->vm].host != move->from)
        disk->sr = plan_fit_sr(input, move->from, disk);
}

static void fill(struct plan_model *model, const struct plan_input *input, struct plan_move *move)
{
    const struct plan_vm *vm = &input->vms[move->vm];
    bool is_running = move->is_running;
    move->phases = memory_array(vm->disk_count + 1, sizeof *move->phases);
    move->takes = memory_array(vm->disk_count + 1, sizeof *move->takes);
    move->gives = memory_array(vm->disk_count + 1, sizeof *move->gives);
    move->takes[move->take_count++] = (struct plan_share){move->to, (int64_t)vm->memory_bytes};
    move->gives[move->give_count++] = (struct plan_share){move->from, (int64_t)vm->memory_bytes};
    bool moves_disks = false;
    for (size_t i = 0; i < vm->disk_count; i++) {
        struct plan_disk disk;
        disk_at(input, move, i, &disk);
        if (plan_fit_sr(input, move->to, &disk) == disk.sr)
            continue;
        moves_disks = true;
        add_disk_shares(input, move, &disk);
        add_phase(model, input, move, is_running ? disk.left_bytes : (double)disk.allocated_bytes,
                  vm->write_bytes_per_s, &disk);
    }
    add_phase(model, input, move, is_running ? vm->memory_left_bytes : (double)vm->memory_bytes,
              vm->dirty_bytes_per_s + (moves_disks ? vm->write_bytes_per_s : 0), NULL);
    if (is_running)
        move->take_count = 0;
    move->seconds += model->handoff_s;
}

int plan_model_add(struct plan_model *model, const struct plan_input *input, int vm, int from,
                   int to)
{
    int count = model->move_count;
    if ((count & (count - 1)) == 0) /* full at each power of two */
        model->moves =
            memory_resize(model->moves, count ? 2 * (size_t)count : 1, sizeof *model->moves);
    struct plan_move *move = &model->moves[model->move_count];
    *move =
        (struct plan_move){.vm = vm,
                           .from = from,
                           .to = to,
                           .after = -1,
                           .is_running = input->vms[vm].is_running && input->vms[vm].host == from,
                           .priority = input->vms[vm].priority};
    fill(model, input, move);
    return model->move_count++;
}

int plan_model_detour(struct plan_model *model, const struct plan_input *input, int index, int by)
{
    int vm = model->moves[index].vm, from = model->moves[index].from, to = model->moves[index].to;
    move_done(&model->moves[index]);
    struct plan_move *first = &model->moves[index];
    *first = (struct plan_move){.vm = vm,
                                .from = from,
                                .to = by,
                                .after = -1,
                                .is_helper = true,
                                .priority = input->vms[vm].priority};
    fill(model, input, first);
    int second = plan_model_add(model, input, vm, by, to);
    model->moves[second].after = index;
    model->moves[second].is_helper = true;
    return second;
}

static size_t next_power(size_t count)
{
    size_t power = 1;
    while (power < count)
        power *= 2;
    return power;
}

void plan_model_drop(struct plan_model *model, const bool *is_dropped)
{
    int kept = 0;
    int *place = memory_array((size_t)model->move_count, sizeof *place);
    for (int i = 0; i < model->move_count; i++) {
        place[i] = is_dropped[i] ? -1 : kept;
        if (is_dropped[i])
            move_done(&model->moves[i]);
        else
            model->moves[kept++] = model->moves[i];
    }
    for (int i = 0; i < kept; i++) {
        if (model->moves[i].after >= 0)
            model->moves[i].after = place[model->moves[i].after];
    }
    model->moves = memory_resize(model->moves, next_power((size_t)kept), sizeof *model->moves);
    model->move_count = kept;
    free(place);
}

void plan_model_add_like(struct plan_model *model, const struct plan_input *input,
                         const struct plan_model *other)
{
    for (int i = 0; i < other->move_count; i++) {
        const struct plan_move *move = &other->moves[i];
        int index = plan_model_add(model, input, move->vm, move->from, move->to);
        model->moves[index].after = move->after;
        model->moves[index].is_helper = move->is_helper;
    }
}

/* Xen stops its passes after 5, or when 50 pages or fewer are dirty (xg_sr_save.c); each pass sends
 * what was written during the one before, a share dirty/rate of it (Clark et al., NSDI 2005). */
double plan_model_pause_s(const struct plan_input *input, int vm, double rate)
{
    enum { PASSES = 5, FEW_BYTES = 50 * 4096 };
    double left = (double)input->vms[vm].memory_bytes, part;
    if (rate <= 0)
        return input->options.handoff_s;
    part = input->vms[vm].dirty_bytes_per_s / rate;
    for (int pass = 1; pass < PASSES && left > FEW_BYTES; pass++)
        left *= part < 1 ? part : 1;
    return left / rate + input->options.handoff_s;
}
