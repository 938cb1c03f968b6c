/* Lower bounds; see plan_bound.h and docs/planning.md. */
#include "plan/plan_bound_state.h"

#include "base/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *const plan_bound_names[] = {
    [PLAN_BOUND_NONE] = "none",   [PLAN_BOUND_NIC] = "nic",   [PLAN_BOUND_LINK] = "link",
    [PLAN_BOUND_SR] = "sr",       [PLAN_BOUND_MOVE] = "move", [PLAN_BOUND_SLOTS] = "slots",
    [PLAN_BOUND_MEMORY] = "room", [PLAN_BOUND_PATH] = "path", [PLAN_BOUND_COUNT] = NULL,
};

struct plan_bound *bound_raise(struct plan_bound *bound, enum plan_bound_kind kind, double seconds)
{
    if (seconds > bound->by_kind[kind])
        bound->by_kind[kind] = seconds;
    if (seconds <= bound->seconds)
        return NULL;
    bound->seconds = seconds;
    bound->kind = kind;
    bound->resource = bound->room = bound->host = bound->vm = -1;
    return bound;
}

static int by_head_down(const void *a, const void *b)
{
    const struct job *left = a, *right = b;
    return (left->head < right->head) - (left->head > right->head);
}

/* Whichever jobs start no earlier than h: h, all of their work, and the shortest tail among them.
 */
static double heads_bound(struct job *jobs, int count)
{
    double best = 0, work = 0, tail = INFINITY;
    qsort(jobs, (size_t)count, sizeof *jobs, by_head_down);
    for (int i = 0; i < count; i++) {
        work += jobs[i].work;
        tail = fmin(tail, jobs[i].tail);
        best = fmax(best, jobs[i].head + work + tail);
    }
    return best;
}

/* The same forwards and backwards in time. */
static double heads_and_tails(struct job *jobs, int count)
{
    double forwards = heads_bound(jobs, count);
    for (int i = 0; i < count; i++) {
        double head = jobs[i].head;
        jobs[i].head = jobs[i].tail;
        jobs[i].tail = head;
    }
    return fmax(forwards, heads_bound(jobs, count));
}

static int by_seconds_down(const void *a, const void *b)
{
    const struct job *left = a, *right = b;
    return (left->seconds < right->seconds) - (left->seconds > right->seconds);
}

/* `slots` at once: all of the time over the slots; and of the k * slots + 1 longest some slot gets
 * k + 1, which take no less than the k + 1 shortest of these. */
static double slots_bound(struct job *jobs, int count, int slots)
{
    double sum = 0, best = 0;
    qsort(jobs, (size_t)count, sizeof *jobs, by_seconds_down);
    for (int i = 0; i < count; i++)
        sum += jobs[i].seconds;
    best = sum / slots;
    for (int k = 1; k * slots < count; k++) {
        double stack = 0;
        for (int i = k * slots - k; i <= k * slots; i++)
            stack += jobs[i].seconds;
        best = fmax(best, stack);
    }
    return best;
}

void bound_make_lists(struct finder *f, bound_key *key, int keys)
{
    const struct plan_model *model = f->model;
    memset(f->begin, 0, ((size_t)keys + 2) * sizeof *f->begin);
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < model->move_count; i++) {
            int k;
            for (int n = 0; (k = key(&model->moves[i], n)) >= 0; n++) {
                if (pass == 0)
                    f->begin[k + 2]++;
                else
                    f->items[f->begin[k + 1]++] = i;
            }
        }
        for (int k = 2; pass == 0 && k < keys + 2; k++)
            f->begin[k] += f->begin[k - 1];
    }
}

static int use_key(const struct plan_move *move, int n)
{
    for (int p = 0; p < move->phase_count; p++) {
        if (n < move->phases[p].use_count)
            return move->phases[p].uses[n];
        n -= move->phases[p].use_count;
    }
    return -1;
}

/* Seconds of this resource's capacity that the move needs, and what must come before and behind. */
static struct job job_on(const struct finder *f, int index, int resource)
{
    const struct plan_move *move = &f->model->moves[index];
    double tail = f->model->handoff_s + f->tail[index];
    struct job job = {.head = f->head[index], .tail = tail};
    for (int p = 0; p < move->phase_count; p++) {
        const struct plan_phase *phase = &move->phases[p];
        bool is_on = false;
        for (int u = 0; u < phase->use_count; u++)
            is_on = is_on || phase->uses[u] == resource;
        if (is_on)
            job.work += plan_phase_wire(phase) / f->model->capacity[resource];
        else if (job.work <= 0)
            job.head += plan_phase_seconds(phase);
        if (is_on)
            job.tail = tail;
        else if (job.work > 0)
            job.tail += plan_phase_seconds(phase);
    }
    return job;
}

static enum plan_bound_kind kind_of(const struct plan_model *model, int resource)
{
    int links_end = model->resource_count - (model->room_count - model->host_count);
    if (resource < 2 * model->host_count)
        return PLAN_BOUND_NIC;
    return resource < links_end ? PLAN_BOUND_LINK : PLAN_BOUND_SR;
}

static void bound_resources(struct finder *f)
{
    bound_make_lists(f, use_key, f->model->resource_count);
    for (int k = 0; k < f->model->resource_count; k++) {
        int count = 0, last = -1;
        for (int i = f->begin[k]; i < f->begin[k + 1]; i++) {
            if (f->items[i] != last)
                f->jobs[count++] = job_on(f, f->items[i], k);
            last = f->items[i];
        }
        struct plan_bound *raised =
            bound_raise(f->bound, kind_of(f->model, k), heads_and_tails(f->jobs, count));
        if (raised)
            raised->resource = k;
    }
}

static void bound_moves(struct finder *f)
{
    for (int i = 0; i < f->model->move_count; i++) {
        const struct plan_move *move = &f->model->moves[i];
        struct plan_bound *raised = bound_raise(f->bound, PLAN_BOUND_MOVE, move->seconds);
        if (raised)
            raised->vm = move->vm;
        raised = bound_raise(f->bound, PLAN_BOUND_PATH, f->head[i] + move->seconds + f->tail[i]);
        if (raised)
            raised->room = move->to;
    }
}

static int host_key(const struct plan_move *move, int n)
{
    return n == 0 ? move->from : n == 1 ? move->to : -1;
}

static void bound_slots(struct finder *f)
{
    const struct plan_model *model = f->model;
    bound_make_lists(f, host_key, model->host_count);
    for (int h = 0; h < model->host_count; h++) {
        int count = 0;
        for (int i = f->begin[h]; i < f->begin[h + 1]; i++)
            f->jobs[count++] = (struct job){.seconds = model->moves[f->items[i]].seconds};
        struct plan_bound *raised =
            bound_raise(f->bound, PLAN_BOUND_SLOTS, slots_bound(f->jobs, count, model->slots[h]));
        if (raised)
            raised->host = h;
    }
    if (model->at_once <= 0)
        return;
    for (int i = 0; i < model->move_count; i++)
        f->jobs[i] = (struct job){.seconds = model->moves[i].seconds};
    bound_raise(f->bound, PLAN_BOUND_SLOTS,
                slots_bound(f->jobs, model->move_count, model->at_once));
}

static int most_keys(const struct plan_model *model)
{
    int resources = model->resource_count, rooms = model->room_count;
    return resources > rooms ? resources : rooms;
}

static size_t count_uses(const struct plan_model *model)
{
    size_t count = 0;
    for (int i = 0; i < model->move_count; i++) {
        for (int p = 0; p < model->moves[i].phase_count; p++)
            count += PLAN_USES;
        count += (size_t)model->moves[i].take_count + 2;
        count += (size_t)model->moves[i].give_count;
    }
    return count;
}

void plan_bound_find(const struct plan_model *model, bool may_help, struct plan_bound *bound)
{
    size_t moves = (size_t)model->move_count, uses = count_uses(model);
    struct finder f = {.model = model, .bound = bound};
    *bound = (struct plan_bound){.resource = -1, .room = -1, .host = -1, .vm = -1};
    f.jobs = memory_array(2 * uses, sizeof *f.jobs);
    f.head = memory_array(moves, sizeof *f.head);
    f.leaves = memory_array(moves, sizeof *f.leaves);
    f.begin = memory_array((size_t)most_keys(model) + 2, sizeof *f.begin);
    f.items = memory_array(uses, sizeof *f.items);
    f.leaving = memory_array(moves, sizeof *f.leaving);
    f.room = memory_array((size_t)model->room_count, sizeof *f.room);
    f.tail = memory_array(moves, sizeof *f.tail);
    if (model->room_count)
        memcpy(f.room, model->room, (size_t)model->room_count * sizeof *f.room);
    bound_find_heads(&f, may_help);
    bound_moves(&f);
    bound_resources(&f);
    bound_slots(&f);
    bound_rooms(&f, may_help);
    free(f.jobs);
    free(f.head);
    free(f.tail);
    free(f.room);
    free(f.leaves);
    free(f.leaving);
    free(f.begin);
    free(f.items);
}
