/* The world of the handoff test: what outlives an agent, in memory that all its processes share.
 * The domain at both ends, the disks, and the orders of the test. The hypervisor, the mirrors and
 * the receivers are this test's own; journal, link and handoff are the product's. */
#pragma once

#include "agent/handoff/handoff.h"

#include <stdatomic.h>

enum end { SOURCE, DESTINATION };

enum place { ABSENT, RUNNING, SUSPENDED, BUILDING, PAUSED };
extern const char *const place_names[];

enum network { NETWORK_PASSES, NETWORK_CUT, NETWORK_SILENT };

struct world {
    atomic_int network; /* enum network, for the connections of this moment */
    atomic_int network_orders, network_obeyed;

    /* what world_reset resets begins here */
    atomic_int domain[2]; /* enum place */
    atomic_bool drained;  /* in this epoch */
    atomic_bool in_sync;  /* and the source has not run since */
    atomic_bool flushed;
    atomic_bool receiving;
    atomic_bool adopted; /* the destination starts the domain at its boot from now on */
    atomic_int violations;

    /* what fails; set before the agents start */
    atomic_bool drain_fails, flush_fails, restore_fails, save_fails, late_save_fails;
    atomic_int unpause_failures;

    /* orders */
    atomic_bool cancel[2], stop_source, end_destination;
    atomic_int conclude; /* enum handoff_verdict */

    /* answers */
    atomic_bool has_result[2];
    struct step_result result[2];
};

struct world *world_make(void);
void world_reset(struct world *world); /* the domain runs at the source */
/* Says what was violated and counts it. */
void world_violated(struct world *world, const char *what);

struct hypervisor {
    struct world *world;
    enum end end;
    struct journal *journal;
    const char *migration;
};
extern const struct hypervisor_driver world_driver;

struct transfer {
    struct world *world;
};
struct receiver_set {
    struct world *world;
};
