/* What the halves of planning share; only they include it. */
#pragma once

#include "coordinator/scheduler/evacuation_plan.h"
#include "plan/plan.h"
#include "plan/plan_request.h"

struct evacuation_work {
    struct evacuation_planning *p;
    struct plan_facts facts;
    struct plan_request request; /* names, owned */
    struct plan_input input;
    struct plan plan;
    int *vm_of;      /* of each wish: its VM in the facts; -1 = not there */
    int *wish_of;    /* of each VM of the facts: its wish; -1 = none */
    bool has_chosen; /* the wishes are all VMs of the emptied hosts */
    bool is_torn;    /* the facts changed while they were read */
};

/* evacuation_plan_request.c: the wishes, when there are none yet, and the planner's request. */
bool evacuation_work_fill(struct db *db, struct evacuation_work *w, struct error *err) must_check;
bool evacuation_work_is_listed(const struct json_array *ids, const char *id);
