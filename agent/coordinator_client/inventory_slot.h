/* The latest inventory, on its way from the thread that looks at the host to the one that reports.
 * The caller locks. */
#pragma once

#include "protocol/inventory.h"

#include <stdint.h>

struct inventory_slot {
    bool is_full;
    bool is_urgent; /* the first one since another step ended */
    struct inventory inventory;
    int64_t finished; /* steps that had ended when the look began */
};

/* Takes over `inventory` in place of the one that nobody took. */
void inventory_slot_put(struct inventory_slot *slot, const struct inventory *inventory,
                        int64_t finished);
/* True: the caller has *out. False: nothing is here, or its look began before the last of now
 * `finished` steps ended; such a one is dropped. */
bool inventory_slot_take(struct inventory_slot *slot, int64_t finished, struct inventory *out);
/* Drops what it holds. */
void inventory_slot_done(struct inventory_slot *slot);
