/* The search; see plan_schedule.h. */
#include "plan/plan_schedule.h"

#include "base/memory.h"
#include "plan/plan_engine.h"
#include "plan/plan_helper.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A schedule this close to the bound is good enough. */
static const double CLOSE = 1.002;
/* Detours of one plan. */
enum { LIMIT_DETOURS = 1024 };

/* Firm ones first: they change no rate under way, so they are preferred where they do as well. */
static const struct plan_policy policies[] = {
    {.squarings = 2, .loyalty = 1, .rounds = 8, .is_firm = true, .least_share = 0.9},
    {.squarings = 2,
     .loyalty = 1,
     .rounds = 16,
     .is_firm = true,
     .least_share = 0.4,
     .is_strict = true},
    {.squarings = 1, .loyalty = 1, .rounds = 16, .is_firm = true, .least_share = 0.25},
    {.squarings = 3, .loyalty = 1, .rounds = 16, .is_firm = true, .least_share = 0.6},
    {.squarings = 2, .loyalty = 1.1, .rounds = 12, .least_share = 0.3},
    {.squarings = 3, .loyalty = 1.05, .rounds = 24, .least_share = 0.1},
    {.squarings = 2, .loyalty = 1.5, .rounds = 24, .least_share = 0.2, .is_strict = true},
    {.squarings = 4, .loyalty = 1.2, .rounds = 32, .least_share = 0.1},
    {.squarings = 1, .loyalty = 1.1, .rounds = 32, .least_share = 0.1},
};
enum { POLICIES = sizeof policies / sizeof *policies };

/* About a second of one core; for very many moves the first schedule is near its bound anyway, and
 * planning again must be quick. */
enum { MANY_MOVES = 1000, EFFORT = 6000000, EFFORT_FOR_MANY = 1000000 };

static int64_t effort_of(const struct plan_options *options, int moves)
{
    if (options->effort > 0)
        return options->effort;
    return moves <= MANY_MOVES ? EFFORT : EFFORT_FOR_MANY;
}

struct searcher {
    const struct plan_model *model;
    double bound;
    struct plan_schedule *best;
    double best_makespan;
    struct plan_policy best_policy;
    double *best_bias, *bias; /* of each move */
    int64_t effort;
    uint64_t random;
};

/* xorshift64* (Vigna 2016): the same numbers everywhere for one seed. */
static double next_random(struct searcher *s)
{
    s->random ^= s->random >> 12;
    s->random ^= s->random << 25;
    s->random ^= s->random >> 27;
    return (double)((s->random * UINT64_C(2685821657736338717)) >> 11) / 9007199254740992.0;
}

static bool is_close(const struct searcher *s)
{
    return s->best_makespan <= s->bound * CLOSE;
}

/* A better one becomes the best. */
static void try(struct searcher *s, const struct plan_policy *policy)
{
    struct plan_engine_result result;
    plan_engine_run(s->model, policy, s->best_makespan * (1 - 1e-6), &result);
    s->best->tries++;
    s->best->looks += result.looks;
    bool is_better =
        result.outcome == PLAN_DONE && result.timeline.makespan < s->best_makespan * (1 - 1e-6);
    if (is_better) {
        plan_timeline_done(&s->best->timeline);
        s->best->timeline = result.timeline;
        result.timeline = (struct plan_timeline){0};
        s->best_makespan = s->best->timeline.makespan;
        s->best_policy = *policy;
        s->best_policy.bias = s->best_bias;
        if (policy->bias && policy->bias != s->best_bias)
            memcpy(s->best_bias, policy->bias, (size_t)s->model->move_count * sizeof *s->best_bias);
    }
    plan_engine_result_done(&result);
}

/* Changes the urgency of some moves, seldom of all, and the rules a little. */
static void change(struct searcher *s, struct plan_policy *policy)
{
    int moves = s->model->move_count;
    memcpy(s->bias, s->best_bias, (size_t)moves * sizeof *s->bias);
    double part = next_random(s) < 0.25 ? 1 : (1 + 3 * next_random(s)) / moves;
    double width = 0.1 + 1.5 * next_random(s);
    for (int i = 0; i < moves; i++) {
        if (next_random(s) < part)
            s->bias[i] *= exp(width * (next_random(s) - 0.5) * 2);
    }
    if (next_random(s) < 0.3) {
        double share = policy->least_share;
        *policy = policies[(int)(next_random(s) * POLICIES)];
        policy->least_share = next_random(s) < 0.5 ? share : 0.05 + 0.95 * next_random(s);
        policy->loyalty = 1 + next_random(s);
        policy->rounds = 8 + (int)(40 * next_random(s));
    }
    policy->bias = s->bias;
}

static void search(struct searcher *s)
{
    int first = s->best->policy;
    for (int i = 0; i < POLICIES && s->best->looks < s->effort && !is_close(s); i++) {
        struct plan_policy policy = policies[i];
        policy.bias = s->best_bias;
        if (i != first)
            try(s, &policy);
    }
    while (s->best->looks < s->effort && !is_close(s)) {
        struct plan_policy policy = s->best_policy;
        change(s, &policy);
        try(s, &policy);
    }
}

static void drop_waiting(struct plan_model *model, const struct plan_input *input,
                         struct plan_engine_result *stuck, struct plan_refusals *refusals)
{
    for (int i = 0; i < model->move_count; i++) {
        const struct plan_move *move = &model->moves[i];
        if (!stuck->is_waiting[i] || move->after >= 0)
            continue;
        plan_refusals_add(
            refusals, move->vm, "cycle",
            memory_format("it waits for room on host %s, which frees up only when others leave "
                          "there, and these wait in turn; no host has room to hold one of them for "
                          "a while: free %llu bytes of memory on host %s or on a third host%s",
                          input->hosts[move->to].name.text,
                          (unsigned long long)input->vms[move->vm].memory_bytes,
                          input->hosts[move->to].name.text,
                          input->options.may_help ? "" : ", or allow helper moves"));
    }
    /* the first half of a detour may be done while the second waits: then both go */
    for (int i = 0; i < model->move_count; i++) {
        int first = model->moves[i].after;
        if (first < 0 || !(stuck->is_waiting[i] || stuck->is_waiting[first]))
            continue;
        if (!stuck->is_waiting[first])
            plan_refusals_add(refusals, model->moves[i].vm, "cycle",
                              memory_format("even over a third host it finds no room on host %s",
                                            input->hosts[model->moves[i].to].name.text));
        stuck->is_waiting[i] = stuck->is_waiting[first] = true;
    }
    plan_model_drop(model, stuck->is_waiting);
}

static void keep(struct plan_schedule *schedule, struct plan_engine_result *result, int policy)
{
    schedule->timeline = result->timeline;
    schedule->policy = policy;
    result->timeline = (struct plan_timeline){0};
}

/* The first set of rules that does not end stuck gives the first schedule. False when all do;
 * `stuck` is then what the first left. */
static bool can_finish(const struct plan_model *model, struct plan_schedule *schedule,
                       struct plan_engine_result *stuck)
{
    for (int i = 0; i < POLICIES; i++) {
        struct plan_engine_result result;
        plan_engine_run(model, &policies[i], INFINITY, &result);
        schedule->tries++;
        schedule->looks += result.looks;
        bool is_done = result.outcome == PLAN_DONE;
        if (is_done)
            keep(schedule, &result, i);
        if (i == 0)
            *stuck = result;
        else
            plan_engine_result_done(&result);
        if (is_done)
            return true;
    }
    return false;
}

/* Detours and drops until some schedule ends. */
void plan_schedule_begin(struct plan_model *model, const struct plan_input *input,
                         struct plan_schedule *schedule, struct plan_refusals *refusals)
{
    *schedule = (struct plan_schedule){0};
    for (int detours = 0;; detours++) {
        struct plan_engine_result stuck;
        int move, host;
        if (can_finish(model, schedule, &stuck)) {
            plan_engine_result_done(&stuck);
            return;
        }
        if (input->options.may_help && detours < LIMIT_DETOURS &&
            plan_helper_find(model, input, &stuck, &move, &host))
            plan_model_detour(model, input, move, host);
        else
            drop_waiting(model, input, &stuck, refusals);
        plan_engine_result_done(&stuck);
    }
}

void plan_schedule_improve(const struct plan_model *model, const struct plan_options *options,
                           double bound, struct plan_schedule *schedule)
{
    struct searcher s = {.model = model,
                         .bound = bound,
                         .best = schedule,
                         .best_makespan = schedule->timeline.makespan,
                         .best_policy = policies[schedule->policy],
                         .effort = effort_of(options, model->move_count),
                         .random = options->seed * UINT64_C(0x9e3779b97f4a7c15) + 1};
    s.bias = memory_array((size_t)model->move_count, sizeof *s.bias);
    s.best_bias = memory_array((size_t)model->move_count, sizeof *s.best_bias);
    for (int i = 0; i < model->move_count; i++)
        s.best_bias[i] = 1;
    s.best_policy.bias = s.best_bias;
    search(&s);
    free(s.bias);
    free(s.best_bias);
}

void plan_schedule_done(struct plan_schedule *schedule)
{
    plan_timeline_done(&schedule->timeline);
    *schedule = (struct plan_schedule){0};
}
