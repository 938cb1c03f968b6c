/* A whole plan: placement, bound and schedule of one input, and what could not be part of it. */
#pragma once

#include "plan/plan_bound.h"
#include "plan/plan_input.h"
#include "plan/plan_refusal.h"
#include "plan/plan_schedule.h"

struct plan {
    struct plan_model model; /* its moves, detours included */
    struct plan_bound bound;
    struct plan_schedule schedule;
    struct plan_refusals refusals;
    char **problems; /* of the whole request: a deadline that is past or missed; owned */
    size_t problem_count;
};

/* Never fails: what cannot move is in `refusals`, and the rest has its plan. */
void plan_make(const struct plan_input *input, struct plan *plan);
void plan_done(struct plan *plan);

/* Seconds in which the guest is paused, by the passes over memory that its rate allows. */
double plan_pause_s(const struct plan *plan, const struct plan_input *input, int move);
