/* What the two halves of the bound share. */
#pragma once

#include "plan/plan_bound.h"

/* What the bounds share, of each move: its head, before which it cannot start; its work on the one
 * resource that is looked at; its tail, which must come after that. */
struct job {
    double head, work, tail, weight, seconds;
};

struct finder {
    const struct plan_model *model;
    struct plan_bound *bound;
    struct job *jobs; /* scratch */
    double *head;     /* of each move: when its room can be there at the earliest */
    double *tail;     /* of each move: the same backwards, seconds from its end to the end of all */
    double *leaves;   /* of each move: when it can have left its host at the earliest */
    int64_t *room;    /* of each room: what is free at the beginning, or, backwards, at the end */
    bool is_backwards;
    double *leaving; /* of each move: seconds of its host's NIC that leaving takes at least */
    /* moves by resource, by room taken, by room given: counting sorts */
    int *begin, *items;
};

/* Index lists by counting sort: `key(move, n)` is the n-th key of a move, -1 when there are no
 * more; the moves of key k are items[begin[k]] to items[begin[k + 1]]. */
typedef int bound_key(const struct plan_move *move, int n);
void bound_make_lists(struct finder *f, bound_key *key, int keys);
/* Notes a bound of that kind; the bound, to say what it is about, when it is the largest so far. */
struct plan_bound *bound_raise(struct plan_bound *bound, enum plan_bound_kind kind, double seconds);

/* plan_bound_rooms.c: heads and tails of all moves, and what follows for those that come last. */
void bound_find_heads(struct finder *f, bool may_help);
/* What rooms allow over time. */
void bound_rooms(struct finder *f, bool may_help);
