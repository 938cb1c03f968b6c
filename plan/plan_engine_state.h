/* What the engine knows at one moment of virtual time; shared by its files only. */
#pragma once

#include "plan/plan_engine.h"
#include "plan/plan_heap.h"

enum plan_stage { STAGE_WAITING, STAGE_SENDING, STAGE_HANDOFF, STAGE_ENDED };

struct plan_live {
    enum plan_stage stage;
    int phase;
    double left;          /* bytes of the phase */
    double rate;          /* on the wire */
    double since;         /* `left` and the spans are right up to here */
    double later_seconds; /* of the phases behind the current one, with the handoff */
    double urgency;
};

struct plan_engine {
    const struct plan_model *model;
    const struct plan_policy *policy;
    struct plan_engine_result *result;
    double now, next_deal, horizon; /* horizon: seconds that are needed at least from now on */
    double first_horizon;
    struct plan_live *live;
    double *used, *need;  /* of each resource: bytes/s; seconds of work that is left */
    double *dealt;        /* of each move: the new rate, while rates are dealt */
    double *blocked;      /* of each room: seconds of work that waits for room there */
    int64_t *wanted;      /* of each room: bytes that waiting moves will take */
    int *held, held_pass; /* rooms kept for a more urgent move in this pass */
    int *slots_used, running;
    int *order, order_count;      /* what has not ended, most urgent first */
    int *list_begin, *list_items; /* the same for each resource; list_begin has one more */
    int *successor;               /* of each move: the one that comes after it; -1 */
    int *touched, touched_count;  /* resources to look at again */
    bool *is_touched;
    struct plan_heap due;
};

/* plan_engine_urgency.c: needs, urgency and order of everything at this moment. */
void plan_engine_rank(struct plan_engine *engine);

const struct plan_phase *plan_engine_phase(const struct plan_engine *engine, int move);
