/* How urgent each move is: the more, the scarcer the resources that it needs (the seconds of work
 * that are left for them, compared to the scarcest of all), the longer it takes itself, and the
 * more waits for the room that it gives back. */
#include "plan/plan_engine_state.h"

#include <stdlib.h>
#include <string.h>

enum { CHAIN_DEPTH = 3 };

static double seconds_left(const struct plan_engine *engine, int move)
{
    const struct plan_live *live = &engine->live[move];
    const struct plan_phase *phase = plan_engine_phase(engine, move);
    double now = phase ? live->left / (phase->top_rate - phase->drain) : 0;
    return now + live->later_seconds;
}

static void add_phase_need(struct plan_engine *engine, const struct plan_phase *phase, double part)
{
    for (int u = 0; u < phase->use_count; u++)
        engine->need[phase->uses[u]] +=
            part * plan_phase_wire(phase) / engine->model->capacity[phase->uses[u]];
}

static void sum_needs(struct plan_engine *engine)
{
    const struct plan_model *model = engine->model;
    memset(engine->need, 0, (size_t)model->resource_count * sizeof *engine->need);
    memset(engine->wanted, 0, (size_t)model->room_count * sizeof *engine->wanted);
    for (int i = 0; i < model->move_count; i++) {
        const struct plan_move *move = &model->moves[i];
        const struct plan_live *live = &engine->live[i];
        if (live->stage == STAGE_ENDED || live->stage == STAGE_HANDOFF)
            continue;
        for (int p = live->phase; p < move->phase_count; p++) {
            double part = p == live->phase ? live->left / move->phases[p].bytes : 1;
            add_phase_need(engine, &move->phases[p], part);
        }
        for (int t = 0; live->stage == STAGE_WAITING && t < move->take_count; t++)
            engine->wanted[move->takes[t].room] += move->takes[t].bytes;
    }
}

static double most_blocked(const struct plan_engine *engine, const struct plan_move *move)
{
    double most = 0;
    for (int g = 0; g < move->give_count; g++) {
        if (engine->blocked[move->gives[g].room] > most)
            most = engine->blocked[move->gives[g].room];
    }
    return most;
}

/* Rooms that do not hold everything that will come: what waits there, and behind that. */
static void find_blocked(struct plan_engine *engine)
{
    const struct plan_model *model = engine->model;
    memset(engine->blocked, 0, (size_t)model->room_count * sizeof *engine->blocked);
    for (int depth = 0; depth < CHAIN_DEPTH; depth++) {
        for (int i = 0; i < model->move_count; i++) {
            const struct plan_move *move = &model->moves[i];
            if (engine->live[i].stage != STAGE_WAITING)
                continue;
            double chain = seconds_left(engine, i) + most_blocked(engine, move);
            for (int t = 0; t < move->take_count; t++) {
                int room = move->takes[t].room;
                if (engine->wanted[room] <= engine->result->room[room])
                    continue;
                double receive = engine->need[model->host_count + move->to];
                double work = depth == 0 && receive > chain ? receive : chain;
                if (work > engine->blocked[room])
                    engine->blocked[room] = work;
            }
        }
    }
}

static double raised(double share, int squarings)
{
    for (int i = 0; i < squarings; i++)
        share *= share;
    return share;
}

static double chain_of(const struct plan_engine *engine, int move)
{
    double chain = seconds_left(engine, move) + most_blocked(engine, &engine->model->moves[move]);
    if (engine->successor[move] >= 0)
        chain += seconds_left(engine, engine->successor[move]);
    return chain;
}

static void find_horizon(struct plan_engine *engine)
{
    engine->horizon = 0;
    for (int k = 0; k < engine->model->resource_count; k++) {
        if (engine->need[k] > engine->horizon)
            engine->horizon = engine->need[k];
    }
    for (int i = 0; i < engine->model->move_count; i++) {
        if (engine->live[i].stage == STAGE_WAITING || engine->live[i].stage == STAGE_SENDING) {
            double seconds = seconds_left(engine, i);
            if (seconds > engine->horizon)
                engine->horizon = seconds;
        }
    }
}

static void set_urgency(struct plan_engine *engine, int move)
{
    const struct plan_policy *policy = engine->policy;
    const struct plan_phase *phase = plan_engine_phase(engine, move);
    double span = engine->horizon > 0 ? engine->horizon : 1;
    double urgency = raised(chain_of(engine, move) / span, policy->squarings);
    for (int u = 0; phase && u < phase->use_count; u++)
        urgency += raised(engine->need[phase->uses[u]] / span, policy->squarings);
    if (engine->live[move].stage == STAGE_SENDING)
        urgency *= policy->loyalty;
    if (policy->bias)
        urgency *= policy->bias[move];
    engine->live[move].urgency = urgency;
}

/* The priority of the request comes before urgency, and equal ones keep the order of the request.
 */
static int compare(const void *a, const void *b, void *context)
{
    const struct plan_engine *engine = context;
    int left = *(const int *)a, right = *(const int *)b;
    int by_priority = engine->model->moves[right].priority - engine->model->moves[left].priority;
    if (by_priority)
        return by_priority;
    double first = engine->live[left].urgency, second = engine->live[right].urgency;
    if (first > second || first < second)
        return first > second ? -1 : 1;
    return left - right;
}

static bool uses(const struct plan_phase *phase, int resource)
{
    for (int u = 0; u < phase->use_count; u++) {
        if (phase->uses[u] == resource)
            return true;
    }
    return false;
}

/* Each resource that the move needs from now on: counted, or entered into its list. */
static void enter(struct plan_engine *engine, int move, bool is_counting)
{
    const struct plan_move *m = &engine->model->moves[move];
    int first = engine->live[move].phase;
    for (int p = first; p < m->phase_count; p++) {
        for (int u = 0; u < m->phases[p].use_count; u++) {
            int k = m->phases[p].uses[u];
            if (p > first && uses(&m->phases[first], k))
                continue;
            if (is_counting)
                engine->list_begin[k + 2]++;
            else
                engine->list_items[engine->list_begin[k + 1]++] = move;
        }
    }
}

/* A counting sort: after it, the list of resource k is list_begin[k] to list_begin[k + 1]. */
static void make_lists(struct plan_engine *engine)
{
    int resources = engine->model->resource_count;
    memset(engine->list_begin, 0, ((size_t)resources + 2) * sizeof *engine->list_begin);
    for (int o = 0; o < engine->order_count; o++)
        enter(engine, engine->order[o], true);
    for (int k = 2; k < resources + 2; k++)
        engine->list_begin[k] += engine->list_begin[k - 1];
    for (int o = 0; o < engine->order_count; o++)
        enter(engine, engine->order[o], false);
}

void plan_engine_rank(struct plan_engine *engine)
{
    sum_needs(engine);
    find_blocked(engine);
    find_horizon(engine);
    engine->order_count = 0;
    for (int i = 0; i < engine->model->move_count; i++) {
        enum plan_stage stage = engine->live[i].stage;
        if (stage != STAGE_WAITING && stage != STAGE_SENDING)
            continue;
        set_urgency(engine, i);
        engine->order[engine->order_count++] = i;
    }
    qsort_r(engine->order, (size_t)engine->order_count, sizeof *engine->order, compare, engine);
    make_lists(engine);
    engine->result->looks += 4 * (int64_t)engine->model->move_count;
}
