/* Epochs: who is let in, who is fenced, and that nothing is in flight when a new one begins. */
#include "agent/receiver/plugin/epoch.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

static struct error err;
static struct epoch epoch;
static atomic_int resets;

static void reset(void *context)
{
    (void)context;
    cr_assert_eq(epoch.in_flight, 0);
    atomic_fetch_add(&resets, 1);
}
static void init(void)
{
    epoch_init(&epoch, 1);
}
static void done(void)
{
    epoch_done(&epoch);
}
TestSuite(epoch, .init = init, .fini = done, .timeout = 30);

static bool admit(int64_t number)
{
    return epoch_admit_mirror(&epoch, number, reset, NULL, &err);
}

Test(epoch, each_has_one_mirror_and_they_only_grow)
{
    cr_assert(admit(3), "%s", err.text);
    cr_assert_not(admit(3));
    cr_assert_eq(err.code, ERROR_REFUSED);
    cr_assert_str_eq(err.text, "mirror epoch 3 is over: expected one above 3");
    cr_assert_not(admit(2));
    cr_assert(admit(4));
    cr_assert_eq(atomic_load(&resets), 2);
}

Test(epoch, begins_no_lower_than_the_lowest_allowed)
{
    epoch_done(&epoch);
    epoch_init(&epoch, 7);
    cr_assert_not(admit(6));
    cr_assert_eq(atomic_load(&resets), 0);
    cr_assert(admit(7));
}

Test(epoch, copies_are_admitted_in_the_mirrored_one_alone)
{
    cr_assert_not(epoch_admit_copy(&epoch, 0, &err), "none is open yet");
    cr_assert_not(epoch_admit_copy(&epoch, 1, &err));
    cr_assert(admit(5));
    cr_assert(epoch_admit_copy(&epoch, 5, &err));
    cr_assert_not(epoch_admit_copy(&epoch, 4, &err));
    cr_assert_not(epoch_admit_copy(&epoch, 6, &err));
    cr_assert_eq(err.code, ERROR_REFUSED);
    cr_assert_str_eq(err.text, "copy of epoch 6: expected the mirrored epoch (5)");
}

Test(epoch, requests_of_older_ones_are_refused)
{
    cr_assert(admit(1));
    cr_assert(epoch_enter(&epoch, 1));
    epoch_leave(&epoch);
    cr_assert(admit(2));
    cr_assert_not(epoch_enter(&epoch, 1));
    cr_assert(epoch_enter(&epoch, 2));
    epoch_leave(&epoch);
}

static void *admit_number(void *context)
{
    struct error mine;
    return (void *)(intptr_t)epoch_admit_mirror(&epoch, *(int64_t *)context, reset, NULL, &mine);
}

Test(epoch, begins_when_requests_in_flight_have_ended)
{
    int64_t two = 2;
    pthread_t thread;
    void *is_admitted;
    cr_assert(admit(1));
    cr_assert(epoch_enter(&epoch, 1));
    pthread_create(&thread, NULL, admit_number, &two);
    for (int i = 0; i < 1000 && epoch_enter(&epoch, 1); i++) {
        epoch_leave(&epoch);
        usleep(10000);
    }
    cr_assert_not(epoch_enter(&epoch, 1), "fenced from the moment that epoch 2 asked");
    usleep(100000);
    cr_assert_eq(atomic_load(&resets), 1);
    cr_assert_not(epoch_enter(&epoch, 2), "not open before the drain has ended");
    cr_assert_not(epoch_admit_copy(&epoch, 2, &err));
    epoch_leave(&epoch);
    pthread_join(thread, &is_admitted);
    cr_assert(is_admitted);
    cr_assert_eq(atomic_load(&resets), 2);
    cr_assert(epoch_enter(&epoch, 2));
    epoch_leave(&epoch);
}

Test(epoch, one_that_is_overtaken_while_it_waits_gives_up)
{
    int64_t two = 2, three = 3;
    pthread_t second, third;
    void *is_second, *is_third;
    cr_assert(admit(1));
    cr_assert(epoch_enter(&epoch, 1));
    pthread_create(&second, NULL, admit_number, &two);
    usleep(50000);
    pthread_create(&third, NULL, admit_number, &three);
    pthread_join(second, &is_second);
    cr_assert_not(is_second);
    cr_assert_eq(atomic_load(&resets), 1);
    epoch_leave(&epoch);
    pthread_join(third, &is_third);
    cr_assert(is_third);
    cr_assert_eq(atomic_load(&resets), 2);
}
