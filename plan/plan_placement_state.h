/* What placement knows while it works; shared by its files only. */
#pragma once

#include "plan/plan_fit.h"
#include "plan/plan_placement.h"

struct placer {
    const struct plan_input *input;
    int *host;                      /* of each VM; -1 = not placed */
    bool *is_refused;               /* of each VM */
    int64_t *memory;                /* of each host: free once all that leave have left */
    int64_t *space;                 /* of each SR: the same */
    double *receives;               /* of each host: seconds that its NIC is busy receiving */
    double *carries;                /* of each link: seconds */
    int *apart_begin, *apart_items; /* groups of each VM that keep it apart */
    int *together;                  /* group of each VM that keeps it together; -1 */
    int *link_of;                   /* of each pair of pools, from * pools + to; -1 = none */
    bool is_tight;                  /* fill hosts up instead of spreading the load */
    struct plan_refusals *refusals;
};

/* VMs that are placed as one: a group that keeps together, or one VM. */
struct unit {
    const int *vms;
    int count;
    uint64_t memory_bytes;
    double wire_bytes;
    int priority;
};

/* plan_placement_check.c: may the unit be on that host, with what is placed already? The first
 * reason, and the VM of the unit that it is about. */
enum plan_fit placer_check(const struct placer *placer, const struct unit *unit, int host, int *vm);
/* Why no host takes the unit: all reasons, each with a host and how many have it. */
char *placer_explain(const struct placer *placer, const struct unit *unit);
/* The link between the pools of two hosts; -1 = none. */
int placer_link(const struct placer *placer, int from, int to);
/* Books the VM on the host, or (sign -1) takes that back. */
void placer_book(struct placer *placer, int vm, int host, int sign);
