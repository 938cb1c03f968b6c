/* The search for a good schedule: many sets of rules for the engine, then small changes of the
 * best, until it is as good as the bound says it can be, or the effort is used up. Deterministic:
 * the same model, seed and effort give the same schedule. */
#pragma once

#include "plan/plan_refusal.h"
#include "plan/plan_timeline.h"

struct plan_schedule {
    struct plan_timeline timeline;
    int policy;    /* rules of the first schedule, of those that are tried */
    int tries;     /* schedules that were made */
    int64_t looks; /* and what they cost */
};

/* The first schedule. Where moves wait for each other in a circle, one VM makes way over a third
 * host, which changes the model (plan_helper.h); what no helper frees is dropped from it and
 * refused. */
void plan_schedule_begin(struct plan_model *model, const struct plan_input *input,
                         struct plan_schedule *schedule, struct plan_refusals *refusals);
/* Better ones, until close to `bound`, the seconds that no schedule can beat. */
void plan_schedule_improve(const struct plan_model *model, const struct plan_options *options,
                           double bound, struct plan_schedule *schedule);
void plan_schedule_done(struct plan_schedule *schedule);
