/* Lower bounds; see plan_bound.h and docs/planning.md. */
#include "plan/plan_bound.h"

#include "base/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *const plan_bound_names[] = {
    [PLAN_BOUND_NONE] = "none",   [PLAN_BOUND_NIC] = "nic",   [PLAN_BOUND_LINK] = "link",
    [PLAN_BOUND_SR] = "sr",       [PLAN_BOUND_MOVE] = "move", [PLAN_BOUND_SLOTS] = "slots",
    [PLAN_BOUND_MEMORY] = "room", [PLAN_BOUND_PATH] = "path", [PLAN_BOUND_COUNT] = NULL,
};

/* What the bounds share, of each move: its head, before which it cannot start; its work on the one
 * resource that is looked at; its tail, which must come after that. */
struct job {
    double head, work, tail, weight, seconds;
};

static struct plan_bound *raise_to(struct plan_bound *bound, enum plan_bound_kind kind,
                                   double seconds)
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
static double heads_and_tails(struct job *jobs, int count)
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

static int by_smith(const void *a, const void *b)
{
    const struct job *left = a, *right = b;
    double first = left->work * right->weight, second = right->work * left->weight;
    return (first > second) - (first < second);
}

/* The least sum of weight times completion on one machine that starts after `delay`: Smith's rule.
 * A job is not there for less than its own `seconds` either. */
static double smith(struct job *jobs, int count, double delay)
{
    double sum = 0, alone = 0, now = delay;
    qsort(jobs, (size_t)count, sizeof *jobs, by_smith);
    for (int i = 0; i < count; i++) {
        now += jobs[i].work;
        sum += jobs[i].weight * now;
        alone += jobs[i].weight * jobs[i].seconds;
    }
    return fmax(sum, alone);
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

struct finder {
    const struct plan_model *model;
    struct plan_bound *bound;
    struct job *jobs; /* scratch */
    double *head;     /* of each move: when its room can be there at the earliest */
    double *tail;     /* of each move: the same backwards, seconds from its end to the end of all */
    double *leaves;   /* of each move: when it can have left its host at the earliest */
    int64_t *room;    /* of each room: what is free at the beginning, or, backwards, at the end */
    bool is_backwards;
    double *leaving; /* of each move: seconds of its host's NIC that leaving takes at least */
    /* moves by resource, by room taken, by room given: counting sorts */
    int *begin, *items;
};

/* Index lists: `key(move, n)` is the n-th key of a move, -1 when there are no more. */
typedef int key_function(const struct plan_move *move, int n);

static void make_lists(struct finder *f, key_function *key, int keys)
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

static int take_key(const struct plan_move *move, int n)
{
    return n < move->take_count ? move->takes[n].room : -1;
}

static int give_key(const struct plan_move *move, int n)
{
    return n < move->give_count ? move->gives[n].room : -1;
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
    make_lists(f, use_key, f->model->resource_count);
    for (int k = 0; k < f->model->resource_count; k++) {
        int count = 0, last = -1;
        for (int i = f->begin[k]; i < f->begin[k + 1]; i++) {
            if (f->items[i] != last)
                f->jobs[count++] = job_on(f, f->items[i], k);
            last = f->items[i];
        }
        struct plan_bound *raised =
            raise_to(f->bound, kind_of(f->model, k), heads_and_tails(f->jobs, count));
        if (raised)
            raised->resource = k;
    }
}

static void bound_moves(struct finder *f)
{
    for (int i = 0; i < f->model->move_count; i++) {
        const struct plan_move *move = &f->model->moves[i];
        struct plan_bound *raised = raise_to(f->bound, PLAN_BOUND_MOVE, move->seconds);
        if (raised)
            raised->vm = move->vm;
        raised = raise_to(f->bound, PLAN_BOUND_PATH, f->head[i] + move->seconds + f->tail[i]);
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
    make_lists(f, host_key, model->host_count);
    for (int h = 0; h < model->host_count; h++) {
        int count = 0;
        for (int i = f->begin[h]; i < f->begin[h + 1]; i++)
            f->jobs[count++] = (struct job){.seconds = model->moves[f->items[i]].seconds};
        struct plan_bound *raised =
            raise_to(f->bound, PLAN_BOUND_SLOTS, slots_bound(f->jobs, count, model->slots[h]));
        if (raised)
            raised->host = h;
    }
    if (model->at_once <= 0)
        return;
    for (int i = 0; i < model->move_count; i++)
        f->jobs[i] = (struct job){.seconds = model->moves[i].seconds};
    raise_to(f->bound, PLAN_BOUND_SLOTS, slots_bound(f->jobs, model->move_count, model->at_once));
}

/* Backwards in time a move takes what it gives, and the other way round. */
static const struct plan_share *takes_of(const struct finder *f, const struct plan_move *move,
                                         int *count)
{
    *count = f->is_backwards ? move->give_count : move->take_count;
    return f->is_backwards ? move->gives : move->takes;
}

static const struct plan_share *gives_of(const struct finder *f, const struct plan_move *move,
                                         int *count)
{
    *count = f->is_backwards ? move->take_count : move->give_count;
    return f->is_backwards ? move->takes : move->gives;
}

static int64_t share_of(const struct plan_share *shares, int count, int room)
{
    int64_t bytes = 0;
    for (int i = 0; i < count; i++)
        bytes += shares[i].room == room ? shares[i].bytes : 0;
    return bytes;
}

/* Seconds of a NIC that the whole move needs. */
static double network_work(const struct plan_model *model, const struct plan_move *move,
                           int resource)
{
    double wire = 0;
    for (int p = 0; p < move->phase_count; p++)
        wire += plan_phase_wire(&move->phases[p]);
    return wire / model->capacity[resource];
}

/* Room times time of one host: what comes holds it from its start on, what leaves until its end,
 * and both together never more than there is. Sums of weighted completions, so Smith's rule bounds
 * each from below (backwards in time for what comes). A detour moves only what leaves earlier,
 * which Smith's rule already assumes. */
static double room_time(struct finder *f, int host, const int *in, int in_count, const int *out,
                        int out_count)
{
    const struct plan_model *model = f->model;
    double room = (double)model->room[host], sum = 0;
    for (int i = 0; i < in_count; i++) {
        const struct plan_move *move = &model->moves[in[i]];
        f->jobs[i] = (struct job){
            .work = network_work(model, move, model->host_count + host),
            .weight = (double)share_of(move->takes, move->take_count, host),
            .seconds = move->seconds,
        };
    }
    sum += smith(f->jobs, in_count, model->handoff_s);
    for (int i = 0; i < out_count; i++) {
        const struct plan_move *move = &model->moves[out[i]];
        double bytes = (double)share_of(move->gives, move->give_count, host);
        f->jobs[i] =
            (struct job){.work = f->leaving[out[i]], .weight = bytes, .seconds = f->leaves[out[i]]};
        room += bytes;
    }
    sum += smith(f->jobs, out_count, model->handoff_s);
    return room > 0 ? sum / room : 0;
}

static void bound_rooms(struct finder *f)
{
    const struct plan_model *model = f->model;
    int hosts = model->host_count;
    int *in_begin = memory_array((size_t)model->room_count + 2, sizeof *in_begin);
    int *in_items = memory_array((size_t)model->move_count, sizeof *in_items);
    make_lists(f, take_key, model->room_count);
    int count = 0;
    for (int h = 0; h < hosts; h++) {
        in_begin[h] = count;
        for (int i = f->begin[h]; i < f->begin[h + 1]; i++)
            in_items[count++] = f->items[i];
    }
    in_begin[hosts] = count;
    make_lists(f, give_key, model->room_count);
    for (int h = 0; h < hosts; h++) {
        double seconds = room_time(f, h, in_items + in_begin[h], in_begin[h + 1] - in_begin[h],
                                   f->items + f->begin[h], f->begin[h + 1] - f->begin[h]);
        struct plan_bound *raised = raise_to(f->bound, PLAN_BOUND_MEMORY, seconds);
        if (raised)
            raised->room = h;
    }
    free(in_begin);
    free(in_items);
}

static int root_of(int *parent, int host)
{
    while (parent[host] != host)
        host = parent[host] = parent[parent[host]];
    return host;
}

/* Hosts that moves join, as sets: parent of each host. */
static void join_hosts(const struct plan_model *model, bool may_help, int *parent)
{
    for (int h = 0; h < model->host_count; h++)
        parent[h] = may_help ? 0 : h;
    for (int i = 0; !may_help && i < model->move_count; i++)
        parent[root_of(parent, model->moves[i].from)] = root_of(parent, model->moves[i].to);
}

/* Memory of all hosts that moves join, together: each move holds its VM's twice while it runs, and
 * what receiving hosts have free is all there is for that, for what leaves one of them comes to
 * another. Where helpers are allowed, the room of every host counts. */
static void bound_joined_memory(struct finder *f, bool may_help)
{
    const struct plan_model *model = f->model;
    size_t hosts = (size_t)model->host_count;
    int *parent = memory_array(hosts, sizeof *parent);
    bool *receives = memory_array(hosts, sizeof *receives);
    double *room = memory_array(hosts, sizeof *room), *sum = memory_array(hosts, sizeof *sum);
    join_hosts(model, may_help, parent);
    for (int i = 0; i < model->move_count; i++) {
        const struct plan_move *move = &model->moves[i];
        int set = root_of(parent, move->to);
        receives[move->to] = true;
        if (move->take_count)
            sum[set] += (double)move->takes[0].bytes * move->seconds;
        else
            room[set] += (double)move->gives[0].bytes;
    }
    for (int h = 0; h < model->host_count; h++) {
        if (receives[h] || may_help)
            room[root_of(parent, h)] += (double)model->room[h];
    }
    for (int h = 0; h < model->host_count; h++) {
        if (room[h] > 0)
            raise_to(f->bound, PLAN_BOUND_MEMORY, sum[h] / room[h]);
    }
    free(parent);
    free(receives);
    free(room);
    free(sum);
}

static int by_seconds_up(const void *a, const void *b)
{
    return by_seconds_down(b, a);
}

/* When `needed` bytes more than there are now can be free on the host at the earliest: by what can
 * have left until then, and by what the host can send until then. */
static double room_at(struct finder *f, int room, int64_t needed)
{
    const struct plan_model *model = f->model;
    const int *out = f->items + f->begin[room];
    int count = f->begin[room + 1] - f->begin[room], shares;
    double freed = 0, by_ends = INFINITY, sent = 0, missing = (double)needed;
    for (int i = 0; i < count; i++) {
        const struct plan_move *move = &model->moves[out[i]];
        const struct plan_share *gives = gives_of(f, move, &shares);
        double work = f->is_backwards ? network_work(model, move, model->host_count + move->to)
                                      : f->leaving[out[i]];
        f->jobs[i] = (struct job){.seconds = f->leaves[out[i]],
                                  .weight = (double)share_of(gives, shares, room),
                                  .work = work};
    }
    qsort(f->jobs, (size_t)count, sizeof *f->jobs, by_seconds_up);
    for (int i = 0; i < count && freed < missing; i++) {
        freed += f->jobs[i].weight;
        by_ends = f->jobs[i].seconds;
    }
    if (freed < missing)
        return INFINITY;
    if (room >= model->host_count)
        return by_ends;
    qsort(f->jobs, (size_t)count, sizeof *f->jobs, by_smith);
    for (int i = 0; i < count && missing > 0; i++) {
        double part = f->jobs[i].weight > missing ? missing / f->jobs[i].weight : 1;
        sent += part * f->jobs[i].work;
        missing -= f->jobs[i].weight;
    }
    return fmax(by_ends, sent + model->handoff_s);
}

/* A move that does not fit now starts when enough has left. */
static bool raise_heads(struct finder *f, double *heads)
{
    const struct plan_model *model = f->model;
    bool is_raised = false;
    for (int i = 0; i < model->move_count; i++) {
        int count;
        const struct plan_share *takes = takes_of(f, &model->moves[i], &count);
        for (int t = 0; t < count; t++) {
            int room = takes[t].room;
            int64_t missing = share_of(takes, count, room) - f->room[room];
            if (missing <= 0)
                continue;
            double head = room_at(f, room, missing);
            if (!isfinite(head) || head <= heads[i])
                continue;
            heads[i] = head;
            is_raised = true;
        }
    }
    return is_raised;
}

/* Without helpers what leaves has a head itself, so heads grow from each other; each round is
 * valid, and a schedule is known to exist, so they end. */
static void grow_heads(struct finder *f, double *heads, bool may_help)
{
    enum { ROUNDS = 32 };
    for (int round = 0; round < ROUNDS && raise_heads(f, heads) && !may_help; round++) {
        for (int i = 0; i < f->model->move_count; i++)
            f->leaves[i] = heads[i] + f->model->moves[i].seconds;
    }
}

/* The last to come to a host starts when all but it have their room: the makespan is at least that
 * and the shortest of those that come. */
static void bound_last(struct finder *f)
{
    const struct plan_model *model = f->model;
    int64_t *wanted = memory_array((size_t)model->room_count, sizeof *wanted);
    double *shortest = memory_array((size_t)model->room_count, sizeof *shortest);
    for (int i = 0; i < model->move_count; i++) {
        int count;
        const struct plan_share *takes = takes_of(f, &model->moves[i], &count);
        for (int t = 0; t < count; t++) {
            int room = takes[t].room;
            if (wanted[room] == 0 || model->moves[i].seconds < shortest[room])
                shortest[room] = model->moves[i].seconds;
            wanted[room] += takes[t].bytes;
        }
    }
    for (int room = 0; room < model->room_count; room++) {
        int64_t missing = wanted[room] - f->room[room];
        double head = missing > 0 ? room_at(f, room, missing) : INFINITY;
        struct plan_bound *raised =
            isfinite(head) ? raise_to(f->bound, PLAN_BOUND_PATH, head + shortest[room]) : NULL;
        if (raised)
            raised->room = room;
    }
    free(wanted);
    free(shortest);
}

static void find_heads(struct finder *f, bool may_help)
{
    make_lists(f, give_key, f->model->room_count);
    grow_heads(f, f->head, may_help);
    bound_last(f);
}

/* A schedule read backwards is one of the moves back, which take what they gave: what is free at
 * the end is free at its beginning. */
static void find_tails(struct finder *f)
{
    const struct plan_model *model = f->model;
    f->is_backwards = true;
    for (int i = 0; i < model->move_count; i++) {
        const struct plan_move *move = &model->moves[i];
        for (int t = 0; t < move->take_count; t++)
            f->room[move->takes[t].room] -= move->takes[t].bytes;
        for (int g = 0; g < move->give_count; g++)
            f->room[move->gives[g].room] += move->gives[g].bytes;
        f->leaves[i] = move->seconds;
    }
    make_lists(f, take_key, model->room_count);
    grow_heads(f, f->tail, false);
    bound_last(f);
    f->is_backwards = false;
}

/* A VM can leave its host for any other when helpers are allowed, which may even reach its disks
 * where they are: then the memory, at the speed of its own host's NIC, is all that surely takes
 * time. */
static void find_leaving(struct finder *f, int index, bool may_help)
{
    const struct plan_model *model = f->model;
    const struct plan_move *move = &model->moves[index];
    double capacity = model->capacity[move->from], memory = 0;
    f->leaves[index] = move->seconds;
    f->leaving[index] = network_work(model, move, move->from);
    if (!may_help || move->phase_count == 0)
        return;
    const struct plan_phase *last = &move->phases[move->phase_count - 1];
    memory = last->bytes / (capacity - fmin(last->drain, capacity / 2));
    f->leaving[index] = fmin(f->leaving[index], memory);
    f->leaves[index] = fmin(move->seconds, memory + model->handoff_s);
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
    for (size_t i = 0; i < moves; i++)
        find_leaving(&f, (int)i, may_help);
    find_heads(&f, may_help);
    if (!may_help)
        find_tails(&f);
    for (size_t i = 0; i < moves; i++)
        find_leaving(&f, (int)i, may_help);
    bound_moves(&f);
    bound_resources(&f);
    bound_slots(&f);
    bound_rooms(&f);
    bound_joined_memory(&f, may_help);
    free(f.jobs);
    free(f.head);
    free(f.tail);
    free(f.room);
    free(f.leaves);
    free(f.leaving);
    free(f.begin);
    free(f.items);
}
