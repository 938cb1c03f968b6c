/* The engine: events, starts, rates; see plan_engine.h. */
#include "plan/plan_engine_state.h"

#include "base/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Of a capacity: less than that is rounding, not room. */
static const double DUST = 1e-6;

const struct plan_phase *plan_engine_phase(const struct plan_engine *engine, int move)
{
    const struct plan_move *m = &engine->model->moves[move];
    int phase = engine->live[move].phase;
    return phase < m->phase_count ? &m->phases[phase] : NULL;
}

static void touch(struct plan_engine *engine, int resource)
{
    if (engine->is_touched[resource])
        return;
    engine->is_touched[resource] = true;
    engine->touched[engine->touched_count++] = resource;
}

/* Every move uses both hosts, so their resources lead to all that may now start there. */
static void touch_ends(struct plan_engine *engine, const struct plan_move *move)
{
    int hosts = engine->model->host_count;
    touch(engine, move->from);
    touch(engine, hosts + move->from);
    touch(engine, move->to);
    touch(engine, hosts + move->to);
}

static void use(struct plan_engine *engine, const struct plan_phase *phase, double rate)
{
    for (int u = 0; u < phase->use_count; u++)
        engine->used[phase->uses[u]] += rate;
}

static double spare(const struct plan_engine *engine, const struct plan_phase *phase)
{
    double least = INFINITY;
    for (int u = 0; u < phase->use_count; u++) {
        int k = phase->uses[u];
        double here = engine->model->capacity[k] - engine->used[k];
        least = fmin(least, here);
    }
    return fmax(least, 0);
}

/* Brings `left` and the spans up to now. */
static void progress(struct plan_engine *engine, int move)
{
    struct plan_live *live = &engine->live[move];
    const struct plan_phase *phase = plan_engine_phase(engine, move);
    double speed = fmax(live->rate - phase->drain, 0);
    live->left = fmax(live->left - speed * (engine->now - live->since), 0);
    plan_timeline_add(&engine->result->timeline, move, live->since, engine->now, live->rate);
    live->since = engine->now;
}

static void set_due(struct plan_engine *engine, int move)
{
    const struct plan_live *live = &engine->live[move];
    double speed = live->rate - plan_engine_phase(engine, move)->drain;
    if (speed > 0)
        plan_heap_set(&engine->due, move, engine->now + live->left / speed);
    else
        plan_heap_remove(&engine->due, move);
}

static void set_rate(struct plan_engine *engine, int move, double rate)
{
    struct plan_live *live = &engine->live[move];
    progress(engine, move);
    use(engine, plan_engine_phase(engine, move), rate - live->rate);
    live->rate = rate;
    set_due(engine, move);
}

static void begin_handoff(struct plan_engine *engine, int move)
{
    engine->live[move].stage = STAGE_HANDOFF;
    engine->live[move].rate = 0;
    engine->result->timeline.moves[move].sent_end = engine->now;
    plan_heap_set(&engine->due, move, engine->now + engine->model->handoff_s);
}

static void enter_phase(struct plan_engine *engine, int move)
{
    struct plan_live *live = &engine->live[move];
    const struct plan_phase *phase = plan_engine_phase(engine, move);
    live->left = phase->bytes;
    live->later_seconds -= plan_phase_seconds(phase);
}

static void end_phase(struct plan_engine *engine, int move)
{
    struct plan_live *live = &engine->live[move];
    const struct plan_phase *old = plan_engine_phase(engine, move);
    double rate = live->rate;
    progress(engine, move);
    use(engine, old, -rate);
    for (int u = 0; u < old->use_count; u++)
        touch(engine, old->uses[u]);
    live->rate = 0;
    live->phase++;
    const struct plan_phase *phase = plan_engine_phase(engine, move);
    if (!phase) {
        begin_handoff(engine, move);
        return;
    }
    enter_phase(engine, move);
    set_rate(engine, move, fmin(fmin(rate, phase->top_rate), spare(engine, phase)));
}

static void end_move(struct plan_engine *engine, int move)
{
    const struct plan_move *m = &engine->model->moves[move];
    struct plan_timeline *timeline = &engine->result->timeline;
    plan_heap_remove(&engine->due, move);
    engine->live[move].stage = STAGE_ENDED;
    timeline->moves[move].end = engine->now;
    timeline->makespan = fmax(timeline->makespan, engine->now);
    engine->slots_used[m->from]--;
    engine->slots_used[m->to]--;
    engine->running--;
    for (int g = 0; g < m->give_count; g++)
        engine->result->room[m->gives[g].room] += m->gives[g].bytes;
    touch_ends(engine, m);
    if (engine->successor[move] >= 0)
        touch_ends(engine, &engine->model->moves[engine->successor[move]]);
}

static bool has_room(struct plan_engine *engine, const struct plan_move *move)
{
    bool is_fitting = true;
    for (int t = 0; t < move->take_count; t++) {
        const struct plan_share *take = &move->takes[t];
        bool is_held = engine->policy->is_strict && engine->held[take->room] == engine->held_pass;
        if (plan_move_wants(move, t) <= engine->result->room[take->room] && !is_held)
            continue;
        is_fitting = false;
        engine->held[take->room] = engine->held_pass;
    }
    return is_fitting;
}

static bool may_start(struct plan_engine *engine, const struct plan_move *move)
{
    const struct plan_model *model = engine->model;
    if (move->after >= 0 && engine->live[move->after].stage != STAGE_ENDED)
        return false;
    if (engine->slots_used[move->from] >= model->slots[move->from] ||
        engine->slots_used[move->to] >= model->slots[move->to])
        return false;
    if (model->at_once > 0 && engine->running >= model->at_once)
        return false;
    return has_room(engine, move);
}

static void start(struct plan_engine *engine, int move, double rate)
{
    const struct plan_move *m = &engine->model->moves[move];
    struct plan_live *live = &engine->live[move];
    live->stage = STAGE_SENDING;
    live->since = engine->now;
    engine->result->timeline.moves[move].begin = engine->now;
    engine->slots_used[m->from]++;
    engine->slots_used[m->to]++;
    engine->running++;
    for (int t = 0; t < m->take_count; t++)
        engine->result->room[m->takes[t].room] -= m->takes[t].bytes;
    if (!plan_engine_phase(engine, move)) {
        begin_handoff(engine, move);
        return;
    }
    set_rate(engine, move, rate);
}

/* Gives a move what it can use of what is free; starts it if it may. */
static void grow(struct plan_engine *engine, int move)
{
    struct plan_live *live = &engine->live[move];
    const struct plan_phase *phase = plan_engine_phase(engine, move);
    engine->result->looks++;
    if (live->stage == STAGE_SENDING && live->rate < phase->top_rate) {
        double rate = fmin(phase->top_rate, live->rate + spare(engine, phase));
        if (rate > live->rate + DUST * phase->top_rate)
            set_rate(engine, move, rate);
        return;
    }
    if (live->stage != STAGE_WAITING)
        return;
    double rate = phase ? fmin(phase->top_rate, spare(engine, phase)) : 0;
    double least =
        phase ? fmax(engine->policy->least_share * phase->top_rate, 1.05 * phase->drain) : 0;
    if (rate >= least * (1 - DUST) && may_start(engine, &engine->model->moves[move]))
        start(engine, move, rate);
}

static void refill(struct plan_engine *engine, int resource)
{
    double capacity = engine->model->capacity[resource];
    int end = engine->list_begin[resource + 1];
    engine->held_pass++;
    for (int i = engine->list_begin[resource]; i < end; i++) {
        if (engine->used[resource] > capacity * (1 - DUST))
            return;
        grow(engine, engine->list_items[i]);
    }
}

static void refill_touched(struct plan_engine *engine)
{
    bool is_capped = engine->model->at_once > 0;
    engine->held_pass++;
    for (int o = 0; is_capped && o < engine->order_count; o++)
        grow(engine, engine->order[o]);
    for (int i = 0; i < engine->touched_count; i++) {
        engine->is_touched[engine->touched[i]] = false;
        if (!is_capped)
            refill(engine, engine->touched[i]);
    }
    engine->touched_count = 0;
}

/* The least that a running move goes on with: a disk's copy may rest while its mirror goes on, a
 * pass over memory may be slowed down to what still wins against the guest. */
static double floor_rate(const struct plan_engine *engine, int move)
{
    const struct plan_live *live = &engine->live[move];
    const struct plan_phase *phase = plan_engine_phase(engine, move);
    bool is_memory = live->phase + 1 == engine->model->moves[move].phase_count;
    double least = is_memory ? fmax(1.25 * phase->drain, phase->top_rate / 8) : phase->drain;
    return fmin(live->rate, least);
}

static void lower_to_floors(struct plan_engine *engine)
{
    memset(engine->used, 0, (size_t)engine->model->resource_count * sizeof *engine->used);
    for (int o = 0; o < engine->order_count; o++) {
        int move = engine->order[o];
        if (engine->live[move].stage != STAGE_SENDING)
            continue;
        engine->dealt[move] = floor_rate(engine, move);
        use(engine, plan_engine_phase(engine, move), engine->dealt[move]);
    }
}

static void apply_dealt(struct plan_engine *engine, int move)
{
    struct plan_live *live = &engine->live[move];
    const struct plan_phase *phase = plan_engine_phase(engine, move);
    double rate = fmin(phase->top_rate, engine->dealt[move] + spare(engine, phase));
    use(engine, phase, rate - engine->dealt[move]);
    if (rate > live->rate * (1 + DUST) || rate < live->rate) {
        progress(engine, move);
        live->rate = rate;
        set_due(engine, move);
    } else {
        use(engine, phase, live->rate - rate);
    }
}

/* All rates anew, most urgent move first. */
static void deal(struct plan_engine *engine)
{
    for (int o = 0; o < engine->order_count; o++) {
        if (engine->live[engine->order[o]].stage == STAGE_SENDING)
            progress(engine, engine->order[o]);
    }
    plan_engine_rank(engine);
    if (!engine->policy->is_firm)
        lower_to_floors(engine);
    engine->held_pass++;
    for (int o = 0; o < engine->order_count; o++) {
        if (!engine->policy->is_firm && engine->live[engine->order[o]].stage == STAGE_SENDING)
            apply_dealt(engine, engine->order[o]);
        else
            grow(engine, engine->order[o]);
    }
    double least = fmax(engine->first_horizon, engine->now) / 400;
    double step = fmax(engine->horizon / engine->policy->rounds, least);
    engine->next_deal = engine->now + fmax(step, 1e-3);
}

static void begin(struct plan_engine *engine)
{
    const struct plan_model *model = engine->model;
    plan_engine_rank(engine);
    engine->first_horizon = engine->horizon;
    for (int i = 0; i < model->move_count; i++) {
        const struct plan_phase *phase = plan_engine_phase(engine, i);
        if (model->moves[i].is_running)
            start(engine, i, phase ? fmin(phase->top_rate, spare(engine, phase)) : 0);
    }
    deal(engine);
}

static void take_event(struct plan_engine *engine, int move)
{
    if (engine->live[move].stage == STAGE_HANDOFF)
        end_move(engine, move);
    else
        end_phase(engine, move);
}

static void run(struct plan_engine *engine, double limit)
{
    begin(engine);
    for (;;) {
        int first = plan_heap_first(&engine->due);
        if (engine->now >= limit) {
            engine->result->timeline.makespan = INFINITY;
            return;
        }
        if (first < 0)
            return;
        double when = engine->due.when[first];
        if (engine->next_deal < when) {
            engine->now = engine->next_deal;
            deal(engine);
            if (engine->now + engine->horizon >= limit) {
                engine->result->timeline.makespan = INFINITY;
                return;
            }
            continue;
        }
        engine->now = when;
        while ((first = plan_heap_first(&engine->due)) >= 0 &&
               engine->due.when[first] <= engine->now + 1e-9)
            take_event(engine, first);
        refill_touched(engine);
    }
}

static void init_live(struct plan_engine *engine, int i)
{
    const struct plan_move *move = &engine->model->moves[i];
    struct plan_live *live = &engine->live[i];
    live->later_seconds = move->seconds;
    if (move->phase_count)
        enter_phase(engine, i);
    if (move->after >= 0)
        engine->successor[move->after] = i;
}

static size_t count_uses(const struct plan_model *model)
{
    size_t count = 0;
    for (int i = 0; i < model->move_count; i++) {
        for (int p = 0; p < model->moves[i].phase_count; p++)
            count += (size_t)model->moves[i].phases[p].use_count;
    }
    return count;
}

static void init(struct plan_engine *engine)
{
    const struct plan_model *model = engine->model;
    size_t moves = (size_t)model->move_count, resources = (size_t)model->resource_count;
    size_t rooms = (size_t)model->room_count;
    engine->live = memory_array(moves, sizeof *engine->live);
    engine->used = memory_array(resources, sizeof *engine->used);
    engine->need = memory_array(resources, sizeof *engine->need);
    engine->dealt = memory_array(moves, sizeof *engine->dealt);
    engine->blocked = memory_array(rooms, sizeof *engine->blocked);
    engine->wanted = memory_array(rooms, sizeof *engine->wanted);
    engine->held = memory_array(rooms, sizeof *engine->held);
    engine->slots_used = memory_array((size_t)model->host_count, sizeof *engine->slots_used);
    engine->order = memory_array(moves, sizeof *engine->order);
    engine->list_begin = memory_array(resources + 2, sizeof *engine->list_begin);
    engine->list_items = memory_array(count_uses(model), sizeof *engine->list_items);
    engine->successor = memory_array(moves, sizeof *engine->successor);
    engine->touched = memory_array(resources, sizeof *engine->touched);
    engine->is_touched = memory_array(resources, sizeof *engine->is_touched);
    plan_heap_init(&engine->due, model->move_count);
    engine->result->room = memory_array(rooms, sizeof *engine->result->room);
    if (rooms)
        memcpy(engine->result->room, model->room, rooms * sizeof *model->room);
    plan_timeline_init(&engine->result->timeline, model->move_count);
    for (int i = 0; i < model->move_count; i++)
        engine->successor[i] = -1;
    for (int i = 0; i < model->move_count; i++)
        init_live(engine, i);
}

static void done(struct plan_engine *engine)
{
    free(engine->live);
    free(engine->used);
    free(engine->need);
    free(engine->dealt);
    free(engine->blocked);
    free(engine->wanted);
    free(engine->held);
    free(engine->slots_used);
    free(engine->order);
    free(engine->list_begin);
    free(engine->list_items);
    free(engine->successor);
    free(engine->touched);
    free(engine->is_touched);
    plan_heap_done(&engine->due);
}

static void find_waiting(struct plan_engine *engine)
{
    struct plan_engine_result *result = engine->result;
    result->is_waiting =
        memory_array((size_t)engine->model->move_count, sizeof *result->is_waiting);
    for (int i = 0; i < engine->model->move_count; i++) {
        result->is_waiting[i] = engine->live[i].stage != STAGE_ENDED;
        if (result->is_waiting[i] && isfinite(result->timeline.makespan))
            result->outcome = PLAN_STUCK;
    }
}

void plan_engine_run(const struct plan_model *model, const struct plan_policy *policy, double limit,
                     struct plan_engine_result *result)
{
    struct plan_engine engine = {.model = model, .policy = policy, .result = result};
    *result = (struct plan_engine_result){.outcome = PLAN_DONE};
    init(&engine);
    run(&engine, limit);
    find_waiting(&engine);
    done(&engine);
}

void plan_engine_result_done(struct plan_engine_result *result)
{
    plan_timeline_done(&result->timeline);
    free(result->is_waiting);
    free(result->room);
    *result = (struct plan_engine_result){0};
}
