/* Bounds by room, which frees up only when others have left; see plan_bound.h and docs/planning.md.
 */
#include "plan/plan_bound_state.h"

#include "base/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int take_key(const struct plan_move *move, int n)
{
    return n < move->take_count ? move->takes[n].room : -1;
}

static int give_key(const struct plan_move *move, int n)
{
    return n < move->give_count ? move->gives[n].room : -1;
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

static void bound_hosts(struct finder *f)
{
    const struct plan_model *model = f->model;
    int hosts = model->host_count;
    int *in_begin = memory_array((size_t)model->room_count + 2, sizeof *in_begin);
    int *in_items = memory_array((size_t)model->move_count, sizeof *in_items);
    bound_make_lists(f, take_key, model->room_count);
    int count = 0;
    for (int h = 0; h < hosts; h++) {
        in_begin[h] = count;
        for (int i = f->begin[h]; i < f->begin[h + 1]; i++)
            in_items[count++] = f->items[i];
    }
    in_begin[hosts] = count;
    bound_make_lists(f, give_key, model->room_count);
    for (int h = 0; h < hosts; h++) {
        double seconds = room_time(f, h, in_items + in_begin[h], in_begin[h + 1] - in_begin[h],
                                   f->items + f->begin[h], f->begin[h + 1] - f->begin[h]);
        struct plan_bound *raised = bound_raise(f->bound, PLAN_BOUND_MEMORY, seconds);
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
            bound_raise(f->bound, PLAN_BOUND_MEMORY, sum[h] / room[h]);
    }
    free(parent);
    free(receives);
    free(room);
    free(sum);
}

static int by_seconds_up(const void *a, const void *b)
{
    const struct job *left = a, *right = b;
    return (left->seconds > right->seconds) - (left->seconds < right->seconds);
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
            isfinite(head) ? bound_raise(f->bound, PLAN_BOUND_PATH, head + shortest[room]) : NULL;
        if (raised)
            raised->room = room;
    }
    free(wanted);
    free(shortest);
}

static void find_heads(struct finder *f, bool may_help)
{
    bound_make_lists(f, give_key, f->model->room_count);
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
    bound_make_lists(f, take_key, model->room_count);
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

void bound_find_heads(struct finder *f, bool may_help)
{
    for (int i = 0; i < f->model->move_count; i++)
        find_leaving(f, i, may_help);
    find_heads(f, may_help);
    if (!may_help)
        find_tails(f);
    for (int i = 0; i < f->model->move_count; i++)
        find_leaving(f, i, may_help);
}

void bound_rooms(struct finder *f, bool may_help)
{
    bound_hosts(f);
    bound_joined_memory(f, may_help);
}
