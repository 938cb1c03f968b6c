/* What is to be scheduled, as numbers alone: moves in phases, the rates they share and the room
 * they take. Schedule, bound and simulation work on this; names stay in plan_input.h. */
#pragma once

#include "plan/plan_input.h"

enum { PLAN_USES = 5, PLAN_NEVER = -1 };

/* One thing that is sent: a disk, or the memory. At a rate r it shrinks by r - drain: the rest of r
 * carries what the guest writes meanwhile. */
struct plan_phase {
    double bytes;
    double drain;        /* bytes/s */
    double top_rate;     /* bytes/s: of the narrowest resource on its way, or what was measured */
    int uses[PLAN_USES]; /* resources, in plan_model.capacity; the unlimited ones are left out */
    int use_count;
};

/* Memory of a host or space of an SR that one move takes when it starts or gives back at its end.
 */
struct plan_share {
    int room; /* in plan_model.room */
    int64_t bytes;
};

struct plan_move {
    int vm;         /* in plan_input */
    int from, to;   /* hosts */
    int after;      /* move that must have ended before this one starts; -1 = none */
    bool is_helper; /* one of the two moves of a VM that makes way over a third host */
    bool is_running;
    int priority;
    struct plan_phase *phases; /* owned */
    int phase_count;
    struct plan_share *takes, *gives; /* owned */
    int take_count, give_count;
    double seconds; /* at top rates, with the handoff: no plan can move it in less */
};

struct plan_model {
    double *capacity; /* bytes/s of each resource: send and receive of hosts, links, SRs */
    int resource_count;
    int64_t *room; /* free bytes: memory of hosts, then space of SRs */
    int room_count;
    int *slots; /* of each host: moves at once */
    int host_count;
    int at_once;      /* moves at once in all; 0 = no limit */
    double handoff_s; /* switch-over and clean-up: holds slot and room, sends nothing */
    struct plan_move *moves;
    int move_count;
};

/* Without moves. */
void plan_model_init(struct plan_model *model, const struct plan_input *input);
void plan_model_done(struct plan_model *model);
/* Appends the move of a VM from one host to another; its index. What a running one has sent is left
 * out, and it takes no room any more. */
int plan_model_add(struct plan_model *model, const struct plan_input *input, int vm, int from,
                   int to);
/* Makes move `index` go to host `by` and appends the move from there to its own destination. */
int plan_model_detour(struct plan_model *model, const struct plan_input *input, int index, int by);
/* Appends the moves of another model, which was made of the same hosts and VMs, at the rates and
 * sizes of this one's input. */
void plan_model_add_like(struct plan_model *model, const struct plan_input *input,
                         const struct plan_model *other);
/* Drops the moves that `is_dropped` marks; `after` of the others follows. */
void plan_model_drop(struct plan_model *model, const bool *is_dropped);

/* Resource of each kind: -1 when it is unlimited. */
int plan_model_send(const struct plan_input *input, int host);
int plan_model_receive(const struct plan_input *input, int host);
int plan_model_link(const struct plan_input *input, int from_pool, int to_pool);
int plan_model_sr(const struct plan_input *input, int sr);
/* "what host a1 sends", "link A to B", "SR store": for people. */
void plan_model_resource_name(const struct plan_input *input, int resource, char *out, size_t size);

/* Seconds in which the guest is paused when its memory is sent at that rate: the last pass over
 * memory and the handoff. */
double plan_model_pause_s(const struct plan_input *input, int vm, double rate);

/* Bytes that the takes of a move up to `take` want of that one's room: two disks may go to one SR.
 */
int64_t plan_move_wants(const struct plan_move *move, int take);

/* Seconds and bytes on the wire of a phase at its top rate. */
double plan_phase_seconds(const struct plan_phase *phase);
double plan_phase_wire(const struct plan_phase *phase);
