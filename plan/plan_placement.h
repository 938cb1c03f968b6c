/* Where each VM goes: hosts of the right kind, with memory and SR room once all have moved, keeping
 * groups apart or together; among these the one whose NIC and link are done first. */
#pragma once

#include "plan/plan_input.h"
#include "plan/plan_refusal.h"

struct plan_placement {
    int *host; /* of each VM: where it goes; -1 = it stays */
    size_t vm_count;
};

/* What cannot be placed is in `refusals`, with every host's reason. */
void plan_placement_find(const struct plan_input *input, struct plan_placement *placement,
                         struct plan_refusals *refusals);
void plan_placement_done(struct plan_placement *placement);
