/* One schedule by one set of rules: from event to event in virtual time, free rates and slots go to
 * the most urgent moves that can use them. The search (plan_schedule.h) tries many sets. */
#pragma once

#include "plan/plan_timeline.h"

struct plan_policy {
    int squarings;  /* how much more the scarcest of a move's resources counts than the others:
                       shares are raised to 2^squarings */
    double loyalty; /* urgency of a running move is multiplied by this when rates are dealt anew */
    int rounds;     /* urgencies are looked at anew after 1/rounds of the time that is left */
    bool is_firm;   /* a rate once given stays or grows; else all are dealt anew at each look */
    double least_share; /* of its top rate: a move does not start with less */
    bool is_strict;     /* while a more urgent move waits for room, no other takes of it */
    const double *bias; /* of each move: multiplies its urgency; NULL = none */
};

enum plan_outcome { PLAN_DONE, PLAN_STUCK };

struct plan_engine_result {
    enum plan_outcome outcome;
    struct plan_timeline timeline; /* of what could move, when stuck */
    bool *is_waiting;              /* when stuck: the moves that cannot start; owned */
    int64_t *room;                 /* what is free at the end, of each room; owned */
    int64_t looks;                 /* what it cost */
};

/* Stops early, with makespan INFINITY, when it cannot end before `limit`. */
void plan_engine_run(const struct plan_model *model, const struct plan_policy *policy, double limit,
                     struct plan_engine_result *result);
void plan_engine_result_done(struct plan_engine_result *result);
