/* When an inventory is worth sending: its content changed, or a minute has passed. */
#pragma once

#include "protocol/inventory.h"

struct inventory_watch {
    char digest[65];    /* of the content last sent; "" = nothing sent yet */
    int64_t sent_at_ms; /* monotonic */
};

/* Free memory and room count as changed when they moved by 64 MiB; what VDIs occupy goes with the
 * next inventory. */
bool inventory_watch_is_due(const struct inventory_watch *watch, const struct inventory *inventory,
                            int64_t now_ms);
/* It is not known what the coordinator has: the next one is due. */
void inventory_watch_forget(struct inventory_watch *watch);
void inventory_watch_sent(struct inventory_watch *watch, const struct inventory *inventory,
                          int64_t now_ms);
