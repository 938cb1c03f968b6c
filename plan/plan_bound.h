/* What no plan can beat: the largest of several lower bounds of the makespan. How each follows is
 * in docs/planning.md. */
#pragma once

#include "plan/plan_model.h"

enum plan_bound_kind {
    PLAN_BOUND_NONE, /* nothing moves */
    PLAN_BOUND_NIC,
    PLAN_BOUND_LINK,
    PLAN_BOUND_SR,
    PLAN_BOUND_MOVE,   /* the longest single move */
    PLAN_BOUND_SLOTS,  /* moves at once, of a host or in all */
    PLAN_BOUND_MEMORY, /* room that frees up only when others have left, over time */
    PLAN_BOUND_PATH,   /* a critical path: what must leave first, and then what comes */
    PLAN_BOUND_COUNT
};
extern const char *const plan_bound_names[]; /* "nic", "link" ...; NULL-terminated */

struct plan_bound {
    double seconds;
    enum plan_bound_kind kind;
    int resource;                     /* NIC, LINK, SR: of the model; else -1 */
    int room;                         /* MEMORY, PATH: of the model; else -1 */
    int host;                         /* SLOTS: -1 = in all */
    int vm;                           /* MOVE: in plan_input */
    double by_kind[PLAN_BOUND_COUNT]; /* the largest of each */
};

/* Of the moves as they were asked for, before any detour. Without `may_help`: of all plans that
 * move each VM once, which is what guests are spared for; with it, of those too in which VMs make
 * way over third hosts. */
void plan_bound_find(const struct plan_model *model, bool may_help, struct plan_bound *bound);
