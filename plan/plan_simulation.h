/* Plays moves in virtual time against a model of links and dirty rates: a plan, which may meet
 * other rates than it was made for, or the policy of running the first N that can run. What shares
 * a resource gets fair shares of it (max-min), no more than the plan allots. */
#pragma once

#include "plan/plan_timeline.h"

struct plan_simulation {
    struct plan_times *moves; /* first and last are not used */
    double *rate;             /* of each move: the last one it sent at */
    int move_count;
    double *peak; /* of each resource: the most that was used, as a share of its capacity */
    int resource_count;
    int most_at_once;
    double makespan;
    int unfinished; /* moves that never found room */
};

/* `actual` has the moves of the plan, in its order. `plan` NULL: `cap` at once, in order of the
 * moves, each as soon as one ends, at whatever rate it gets. */
void plan_simulation_run(const struct plan_model *actual, const struct plan_timeline *plan, int cap,
                         struct plan_simulation *simulation);
void plan_simulation_done(struct plan_simulation *simulation);
