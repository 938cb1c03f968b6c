/* Which inventory may still be sent when steps end around it. */
#include "agent/coordinator_client/inventory_slot.h"

#include "base/memory.h"

#include <criterion/criterion.h>

static struct inventory_slot slot;
static struct inventory out;

static void setup(void)
{
    slot = (struct inventory_slot){0};
    out = (struct inventory){0};
}
static void teardown(void)
{
    inventory_slot_done(&slot);
    json_release(inventory_fields, &out);
}
TestSuite(inventory_slot, .init = setup, .fini = teardown);

/* An inventory with one network, so that one which is not released is a leak. */
static void put(int cpus, int64_t finished)
{
    struct inventory inventory = {.cpus = cpus};
    inventory.networks.items = memory_array(1, sizeof(struct inventory_network));
    inventory.networks.count = 1;
    inventory_slot_put(&slot, &inventory, finished);
}

Test(inventory_slot, latest_inventory_is_taken_once)
{
    cr_expect_not(inventory_slot_take(&slot, 0, &out));
    put(1, 0);
    put(2, 0);
    cr_assert(inventory_slot_take(&slot, 0, &out));
    cr_expect_eq(out.cpus, 2);
    cr_expect_eq(out.networks.count, 1);
    cr_expect_not(inventory_slot_take(&slot, 0, &out));
}

Test(inventory_slot, inventory_begun_before_a_step_ended_is_dropped)
{
    put(1, 4);
    cr_expect_not(inventory_slot_take(&slot, 5, &out));
    cr_expect_not(inventory_slot_take(&slot, 4, &out), "it is gone for good");
    put(2, 5);
    cr_assert(inventory_slot_take(&slot, 5, &out));
    cr_expect_eq(out.cpus, 2);
}

Test(inventory_slot, first_inventory_after_a_step_ended_is_urgent_until_it_leaves)
{
    put(1, 0);
    cr_expect_not(slot.is_urgent);
    put(2, 1);
    cr_expect(slot.is_urgent);
    put(3, 1);
    cr_expect(slot.is_urgent, "nobody took the one before");
    cr_assert(inventory_slot_take(&slot, 1, &out));
    cr_expect_not(slot.is_urgent);
    put(4, 1);
    cr_expect_not(slot.is_urgent);
    put(5, 2);
    cr_expect_not(inventory_slot_take(&slot, 3, &out));
    cr_expect_not(slot.is_urgent, "nothing is here to hurry for");
}
