/* Tries one more detour at a time; see plan_detours.h. */
#include "plan/plan_detours.h"

#include "base/memory.h"
#include "plan/plan_helper.h"

#include <stdlib.h>
#include <string.h>

/* Of the makespan, that one more guest moves twice for. */
static const double WORTH = 0.97;
enum { LIMIT_MORE = 64 };

bool plan_detours_exist(const struct plan_model *model)
{
    for (int i = 0; i < model->move_count; i++) {
        if (model->moves[i].is_helper)
            return true;
    }
    return false;
}

/* As at the beginning, when those that make way already have gone where they wait. */
static bool find_one(const struct plan_model *model, const struct plan_input *input, int *move,
                     int *host)
{
    struct plan_engine_result at_begin = {0};
    at_begin.is_waiting = memory_array((size_t)model->move_count, sizeof *at_begin.is_waiting);
    at_begin.room = memory_array((size_t)model->room_count, sizeof *at_begin.room);
    memcpy(at_begin.room, model->room, (size_t)model->room_count * sizeof *model->room);
    for (int i = 0; i < model->move_count; i++) {
        const struct plan_move *m = &model->moves[i];
        at_begin.is_waiting[i] = !m->is_helper && !m->is_running;
        for (int t = 0; m->is_helper && m->after < 0 && t < m->take_count; t++)
            at_begin.room[m->takes[t].room] -= m->takes[t].bytes;
    }
    bool is_found = plan_helper_find(model, input, &at_begin, move, host);
    plan_engine_result_done(&at_begin);
    return is_found;
}

/* False, with all as it was, when it does not pay. */
static bool add_one(struct plan_model *model, const struct plan_input *input,
                    struct plan_schedule *schedule)
{
    struct plan_model more;
    struct plan_schedule shorter;
    struct plan_refusals none = {0};
    int move, host;
    if (!find_one(model, input, &move, &host))
        return false;
    plan_model_init(&more, input);
    plan_model_add_like(&more, input, model);
    plan_model_detour(&more, input, move, host);
    plan_schedule_begin(&more, input, &shorter, &none);
    bool is_worth =
        none.count == 0 && shorter.timeline.makespan < schedule->timeline.makespan * WORTH;
    plan_refusals_done(&none);
    if (!is_worth) {
        plan_model_done(&more);
        plan_schedule_done(&shorter);
        return false;
    }
    plan_model_done(model);
    plan_schedule_done(schedule);
    *model = more;
    *schedule = shorter;
    return true;
}

void plan_detours_add(struct plan_model *model, const struct plan_input *input,
                      struct plan_schedule *schedule)
{
    bool is_adding = input->options.may_help && plan_detours_exist(model);
    for (int i = 0; is_adding && i < LIMIT_MORE; i++)
        is_adding = add_one(model, input, schedule);
}
