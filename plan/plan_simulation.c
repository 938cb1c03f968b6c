/* Virtual time; see plan_simulation.h. */
#include "plan/plan_simulation.h"

#include "base/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Seconds and shares below that are rounding. */
static const double TINY = 1e-9;

enum stage { WAITING, SENDING, HANDOFF, ENDED };

struct player { /* one move */
    enum stage stage;
    int phase;
    double left; /* bytes of the phase; of the handoff: seconds */
    double cap, rate;
    int span; /* of the plan, that it is in */
    bool is_frozen;
};

struct stage_play {
    const struct plan_model *model;
    const struct plan_timeline *plan;
    struct plan_simulation *out;
    int cap;
    double now;
    struct player *players;
    int *order, *running;
    int first_waiting, running_count;
    int64_t *room;
    int *slots_used;
    double *spare;
    int *sharers;
};

static const struct plan_phase *phase_of(const struct stage_play *play, int move)
{
    return &play->model->moves[move].phases[play->players[move].phase];
}

static void enter_phase(struct stage_play *play, int move)
{
    struct player *player = &play->players[move];
    if (player->phase < play->model->moves[move].phase_count) {
        player->left = phase_of(play, move)->bytes;
        return;
    }
    player->stage = HANDOFF;
    player->left = play->model->handoff_s;
    play->out->moves[move].sent_end = play->now;
}

static bool has_room(const struct stage_play *play, const struct plan_move *move)
{
    for (int t = 0; t < move->take_count; t++) {
        if (plan_move_wants(move, t) > play->room[move->takes[t].room])
            return false;
    }
    return true;
}

static bool may_start(const struct stage_play *play, int index)
{
    const struct plan_model *model = play->model;
    const struct plan_move *move = &model->moves[index];
    if (move->is_running)
        return true;
    if (play->plan && play->plan->moves[index].begin > play->now + TINY)
        return false;
    if (move->after >= 0 && play->players[move->after].stage != ENDED)
        return false;
    if (play->slots_used[move->from] >= model->slots[move->from] ||
        play->slots_used[move->to] >= model->slots[move->to])
        return false;
    if (model->at_once > 0 && play->running_count >= model->at_once)
        return false;
    return has_room(play, move);
}

static void start(struct stage_play *play, int index)
{
    const struct plan_move *move = &play->model->moves[index];
    struct player *player = &play->players[index];
    play->running[play->running_count++] = index;
    if (play->running_count > play->out->most_at_once)
        play->out->most_at_once = play->running_count;
    player->stage = SENDING;
    player->span = play->plan ? play->plan->moves[index].first : -1;
    play->out->moves[index].begin = play->now;
    play->slots_used[move->from]++;
    play->slots_used[move->to]++;
    for (int t = 0; t < move->take_count; t++)
        play->room[move->takes[t].room] -= move->takes[t].bytes;
    enter_phase(play, index);
}

static void start_all(struct stage_play *play)
{
    int moves = play->model->move_count;
    while (play->first_waiting < moves &&
           play->players[play->order[play->first_waiting]].stage != WAITING)
        play->first_waiting++;
    for (int o = play->first_waiting; o < moves; o++) {
        int index = play->order[o];
        if (!play->plan && play->running_count >= play->cap)
            return;
        if (play->plan && play->plan->moves[index].begin > play->now + TINY)
            return;
        if (play->players[index].stage == WAITING && may_start(play, index))
            start(play, index);
    }
}

static void end(struct stage_play *play, int index)
{
    const struct plan_move *move = &play->model->moves[index];
    play->players[index].stage = ENDED;
    play->out->moves[index].end = play->now;
    play->out->makespan = fmax(play->out->makespan, play->now);
    play->slots_used[move->from]--;
    play->slots_used[move->to]--;
    for (int g = 0; g < move->give_count; g++)
        play->room[move->gives[g].room] += move->gives[g].bytes;
}

/* What the plan allots now; a move that began late has its rates later. */
static double cap_of(struct stage_play *play, int index)
{
    struct player *player = &play->players[index];
    const struct plan_phase *phase = phase_of(play, index);
    if (!play->plan)
        return phase->top_rate;
    double late = play->out->moves[index].begin - play->plan->moves[index].begin;
    while (player->span >= 0 && play->plan->spans[player->span].end + late <= play->now + TINY)
        player->span = play->plan->spans[player->span].next;
    if (player->span < 0)
        return phase->top_rate;
    const struct plan_span *span = &play->plan->spans[player->span];
    return span->begin + late > play->now + TINY ? phase->drain : fmin(span->rate, phase->top_rate);
}

static void take(struct stage_play *play, int index, double rate)
{
    const struct plan_phase *phase = phase_of(play, index);
    play->players[index].rate = rate;
    play->players[index].is_frozen = true;
    for (int u = 0; u < phase->use_count; u++) {
        play->spare[phase->uses[u]] -= rate;
        play->sharers[phase->uses[u]]--;
    }
}

/* The rate at which the first resource is full when all that are not frozen get the same. */
static double level(const struct stage_play *play, int index)
{
    const struct plan_phase *phase = phase_of(play, index);
    double least = play->players[index].cap;
    for (int u = 0; u < phase->use_count; u++)
        least = fmin(least, fmax(play->spare[phase->uses[u]], 0) / play->sharers[phase->uses[u]]);
    return least;
}

static bool is_to_share(const struct stage_play *play, int index)
{
    return play->players[index].stage == SENDING && !play->players[index].is_frozen;
}

static void begin_sharing(struct stage_play *play)
{
    for (int k = 0; k < play->model->resource_count; k++) {
        play->spare[k] = play->model->capacity[k];
        play->sharers[k] = 0;
    }
    for (int i = 0; i < play->running_count; i++) {
        struct player *player = &play->players[play->running[i]];
        player->is_frozen = false;
        player->rate = 0;
        if (player->stage != SENDING)
            continue;
        const struct plan_phase *phase = phase_of(play, play->running[i]);
        player->cap = cap_of(play, play->running[i]);
        for (int u = 0; u < phase->use_count; u++)
            play->sharers[phase->uses[u]]++;
    }
}

/* Max-min fairness by progressive filling (Bertsekas and Gallager, Data Networks, 6.5.2). */
static void share(struct stage_play *play)
{
    begin_sharing(play);
    for (;;) {
        double least = INFINITY;
        for (int i = 0; i < play->running_count; i++) {
            if (is_to_share(play, play->running[i]))
                least = fmin(least, level(play, play->running[i]));
        }
        if (!isfinite(least))
            break;
        for (int i = 0; i < play->running_count; i++) {
            int index = play->running[i];
            if (is_to_share(play, index) && level(play, index) <= least * (1 + TINY) + TINY)
                take(play, index, least);
        }
    }
    for (int k = 0; k < play->model->resource_count; k++) {
        double used = (play->model->capacity[k] - play->spare[k]) / play->model->capacity[k];
        if (play->model->capacity[k] > 0)
            play->out->peak[k] = fmax(play->out->peak[k], used);
    }
}

static double speed_of(const struct stage_play *play, int index)
{
    const struct player *player = &play->players[index];
    return player->stage == HANDOFF ? 1 : fmax(player->rate - phase_of(play, index)->drain, 0);
}

/* Seconds until anything changes; INFINITY = nothing will. */
static double next_change(struct stage_play *play)
{
    double next = INFINITY;
    for (int i = 0; i < play->running_count; i++) {
        int index = play->running[i];
        const struct player *player = &play->players[index];
        double speed = speed_of(play, index);
        if (speed > 0)
            next = fmin(next, player->left / speed);
        if (player->stage == SENDING && player->span >= 0) {
            double late = play->out->moves[index].begin - play->plan->moves[index].begin;
            const struct plan_span *span = &play->plan->spans[player->span];
            double edge = span->begin + late > play->now + TINY ? span->begin : span->end;
            next = fmin(next, fmax(edge + late - play->now, 10 * TINY));
        }
    }
    for (int o = play->first_waiting; play->plan && o < play->model->move_count; o++) {
        double begin = play->plan->moves[play->order[o]].begin - play->now;
        if (begin > TINY) {
            next = fmin(next, begin);
            break;
        }
    }
    return next;
}

static void advance(struct stage_play *play, double seconds)
{
    int kept = 0;
    play->now += seconds;
    for (int i = 0; i < play->running_count; i++) {
        int index = play->running[i];
        struct player *player = &play->players[index];
        double speed = speed_of(play, index);
        player->left -= speed * seconds;
        if (player->stage == SENDING && speed > 0)
            play->out->rate[index] = player->rate;
        if (player->left <= speed * 10 * TINY) {
            if (player->stage == HANDOFF) {
                end(play, index);
                continue;
            }
            player->phase++;
            enter_phase(play, index);
        }
        play->running[kept++] = index;
    }
    play->running_count = kept;
}

static int by_begin(const void *a, const void *b, void *context)
{
    const struct plan_timeline *plan = context;
    int left = *(const int *)a, right = *(const int *)b;
    double first = plan->moves[left].begin, second = plan->moves[right].begin;
    if (first > second || first < second)
        return first > second ? 1 : -1;
    return left - right;
}

static void play_init(struct stage_play *play)
{
    const struct plan_model *model = play->model;
    size_t moves = (size_t)model->move_count, resources = (size_t)model->resource_count;
    play->players = memory_array(moves, sizeof *play->players);
    play->order = memory_array(moves, sizeof *play->order);
    play->running = memory_array(moves, sizeof *play->running);
    play->room = memory_array((size_t)model->room_count, sizeof *play->room);
    play->slots_used = memory_array((size_t)model->host_count, sizeof *play->slots_used);
    play->spare = memory_array(resources, sizeof *play->spare);
    play->sharers = memory_array(resources, sizeof *play->sharers);
    if (model->room_count)
        memcpy(play->room, model->room, (size_t)model->room_count * sizeof *play->room);
    for (int i = 0; i < model->move_count; i++)
        play->order[i] = i;
    if (play->plan)
        qsort_r(play->order, moves, sizeof *play->order, by_begin, (void *)play->plan);
}

static void play_done(struct stage_play *play)
{
    free(play->players);
    free(play->order);
    free(play->running);
    free(play->room);
    free(play->slots_used);
    free(play->spare);
    free(play->sharers);
}

void plan_simulation_run(const struct plan_model *actual, const struct plan_timeline *plan, int cap,
                         struct plan_simulation *simulation)
{
    size_t moves = (size_t)actual->move_count;
    struct stage_play play = {.model = actual, .plan = plan, .cap = cap, .out = simulation};
    *simulation = (struct plan_simulation){.move_count = actual->move_count,
                                           .resource_count = actual->resource_count};
    simulation->moves = memory_array(moves, sizeof *simulation->moves);
    simulation->rate = memory_array(moves, sizeof *simulation->rate);
    simulation->peak = memory_array((size_t)actual->resource_count, sizeof *simulation->peak);
    play_init(&play);
    for (;;) {
        start_all(&play);
        share(&play);
        double seconds = next_change(&play);
        if (!isfinite(seconds))
            break;
        advance(&play, seconds);
    }
    for (int i = 0; i < actual->move_count; i++)
        simulation->unfinished += play.players[i].stage != ENDED;
    play_done(&play);
}

void plan_simulation_done(struct plan_simulation *simulation)
{
    free(simulation->moves);
    free(simulation->rate);
    free(simulation->peak);
    *simulation = (struct plan_simulation){0};
}
