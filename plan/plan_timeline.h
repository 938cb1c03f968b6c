/* When each move runs, and at what rate: what the scheduler makes and the simulation replays. */
#pragma once

#include "plan/plan_model.h"

struct plan_span { /* one rate for some time */
    int move;
    int next;          /* span of the same move that follows; -1 = none */
    double begin, end; /* s */
    double rate;       /* bytes/s on the wire */
};

struct plan_times {
    double begin, end; /* s; the end includes the handoff */
    double sent_end;   /* when the last byte was sent */
    int first, last;   /* spans; -1 = none */
};

struct plan_timeline {
    struct plan_times *moves; /* of each move of the model */
    int move_count;
    struct plan_span *spans;
    int span_count;
    double makespan;
};

void plan_timeline_init(struct plan_timeline *timeline, int moves);
void plan_timeline_done(struct plan_timeline *timeline);
/* Appends; one that goes on at the same rate makes the last span longer. */
void plan_timeline_add(struct plan_timeline *timeline, int move, double begin, double end,
                       double rate);
