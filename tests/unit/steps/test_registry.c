/* The registry of running migrations. */
#include "agent/steps/registry.h"

#include "base/clock.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#define MIGRATION "11111111-1111-4111-8111-111111111111"

static struct registry *registry;
static int object;

static void setup(void)
{
    registry = registry_new();
}
static void teardown(void)
{
    registry_free(registry);
}
TestSuite(registry, .init = setup, .fini = teardown, .timeout = 20);

Test(registry, slot_holds_one_object)
{
    int other;
    cr_expect_null(registry_borrow(registry, MIGRATION, SLOT_TRANSFER));
    cr_expect(registry_put(registry, MIGRATION, SLOT_TRANSFER, &object));
    cr_expect_not(registry_put(registry, MIGRATION, SLOT_TRANSFER, &other));
    cr_expect(registry_put(registry, MIGRATION, SLOT_HANDOFF_SOURCE, &other));
    cr_expect_eq(registry_take(registry, MIGRATION, SLOT_TRANSFER), (void *)&object);
    cr_expect_null(registry_take(registry, MIGRATION, SLOT_TRANSFER));
    cr_expect_eq(registry_take(registry, MIGRATION, SLOT_HANDOFF_SOURCE), (void *)&other);
}

static atomic_bool was_returned;
static void *return_late(void *nothing)
{
    clock_sleep_ms(50);
    atomic_store(&was_returned, true);
    registry_return(registry, MIGRATION, SLOT_TRANSFER);
    return nothing;
}

Test(registry, take_waits_for_users_and_keeps_new_ones_out)
{
    pthread_t thread;
    cr_assert(registry_put(registry, MIGRATION, SLOT_TRANSFER, &object));
    cr_assert_not_null(registry_borrow(registry, MIGRATION, SLOT_TRANSFER));
    cr_assert_eq(pthread_create(&thread, NULL, return_late, NULL), 0);
    cr_expect_eq(registry_take(registry, MIGRATION, SLOT_TRANSFER), (void *)&object);
    cr_expect(atomic_load(&was_returned));
    cr_expect_null(registry_borrow(registry, MIGRATION, SLOT_TRANSFER));
    pthread_join(thread, NULL);
}

static void *put_late(void *nothing)
{
    clock_sleep_ms(30);
    registry_put(registry, MIGRATION, SLOT_HANDOFF_DESTINATION, &object);
    return nothing;
}

Test(registry, wait_ends_when_the_slot_is_filled_or_in_time)
{
    pthread_t thread;
    cr_expect_not(registry_wait(registry, MIGRATION, SLOT_HANDOFF_DESTINATION, 20));
    cr_assert_eq(pthread_create(&thread, NULL, put_late, NULL), 0);
    cr_expect(registry_wait(registry, MIGRATION, SLOT_HANDOFF_DESTINATION, 5000));
    pthread_join(thread, NULL);
    cr_expect_eq(registry_take(registry, MIGRATION, SLOT_HANDOFF_DESTINATION), (void *)&object);
}

Test(registry, list_names_migrations_with_objects)
{
    char(*names)[UUID_SIZE] = NULL;
    cr_expect_eq(registry_list(registry, &names), 0);
    free(names);
    cr_assert(registry_put(registry, MIGRATION, SLOT_TRANSFER, &object));
    cr_assert_eq(registry_list(registry, &names), 1);
    cr_expect_str_eq(names[0], MIGRATION);
    free(names);
    registry_take(registry, MIGRATION, SLOT_TRANSFER);
    cr_expect_eq(registry_list(registry, &names), 0);
    free(names);
}
