/* Which inventory may be sent; see inventory_slot.h. */
#include "agent/coordinator_client/inventory_slot.h"

void inventory_slot_done(struct inventory_slot *slot)
{
    if (slot->is_full)
        json_release(inventory_fields, &slot->inventory);
    slot->is_full = false;
    slot->is_urgent = false;
}

void inventory_slot_put(struct inventory_slot *slot, const struct inventory *inventory,
                        int64_t finished)
{
    bool is_urgent = slot->is_urgent || finished != slot->finished;
    inventory_slot_done(slot);
    *slot = (struct inventory_slot){
        .is_full = true, .is_urgent = is_urgent, .inventory = *inventory, .finished = finished};
}

bool inventory_slot_take(struct inventory_slot *slot, int64_t finished, struct inventory *out)
{
    if (!slot->is_full || slot->finished != finished) {
        inventory_slot_done(slot);
        return false;
    }
    *out = slot->inventory;
    slot->is_full = false;
    slot->is_urgent = false;
    return true;
}
