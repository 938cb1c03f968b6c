/* Negative controls: each scenario keeps the data with the sound module, and notices each fault of
 * the broken one that it is about. Without this a test of the receiver could pass for nothing. */
#ifdef BROKEN_PLUGIN_PATH
#include "nbdkit_run.h"

#include "base/clock.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <unistd.h>

enum { MIB = 1 << 20 };
static struct nbdkit_run run;

static void init(void)
{
    nbdkit_run_init(&run, MIB);
}
static void done(void)
{
    nbdkit_run_done(&run);
}
TestSuite(broken, .init = init, .fini = done, .timeout = 60);

static void start(const char *fault, const char *delay)
{
    nbdkit_run_start(&run, BROKEN_PLUGIN_PATH, (const char *const[]){fault, delay, NULL});
}

/* A write on a thread of its own. */
struct late_write {
    struct nbd_handle *nbd;
    int byte;
    uint64_t size, offset;
    int outcome;
    pthread_t thread;
};
static void *late_run(void *context)
{
    struct late_write *late = context;
    late->outcome = nbdkit_run_write(late->nbd, late->byte, late->size, late->offset);
    return NULL;
}
static void late_begin(struct late_write *late)
{
    pthread_create(&late->thread, NULL, late_run, late);
    clock_sleep_ms(150); /* less than the module's delay, enough to reach it */
}
static int late_join(struct late_write *late)
{
    pthread_join(late->thread, NULL);
    return late->outcome;
}

/* True when the scenario loses data with the fault at least once: a late write can be too late on a
 * busy machine. With the sound module it never does. */
static bool is_noticed(bool (*scenario)(const char *fault), const char *fault)
{
    bool is_lost = false;
    cr_assert(scenario("break=none"), "the sound module lost data");
    for (int i = 0; i < 5 && !is_lost; i++) {
        nbdkit_run_stop(&run);
        cr_assert_eq(truncate(run.file, 0), 0);
        cr_assert_eq(truncate(run.file, MIB), 0);
        is_lost = !scenario(fault);
    }
    return is_lost;
}

static bool mirrored_data_survives_a_later_stale_copy(const char *fault)
{
    start(fault, "copy_delay_ms=0");
    struct nbd_handle *mirror = nbdkit_run_attach(&run, "mirror.1");
    struct nbd_handle *copy = nbdkit_run_attach(&run, "copy.1");
    cr_assert_eq(nbdkit_run_write(mirror, 'n', 512, 1024), 0);
    cr_assert_eq(nbdkit_run_write(copy, 'o', 4096, 0), 0);
    nbd_close(mirror);
    nbd_close(copy);
    return nbdkit_run_holds(&run, 1024, 512, 'n');
}

Test(broken, ignored_marks_are_noticed)
{
    cr_assert(is_noticed(mirrored_data_survives_a_later_stale_copy, "break=mask"));
}

static bool neighbours_of_a_mirrored_sector_are_copied(const char *fault)
{
    start(fault, "copy_delay_ms=0");
    struct nbd_handle *mirror = nbdkit_run_attach(&run, "mirror.1");
    struct nbd_handle *copy = nbdkit_run_attach(&run, "copy.1");
    cr_assert_eq(nbdkit_run_write(mirror, 'n', 512, 1024), 0);
    cr_assert_eq(nbdkit_run_write(copy, 'o', 4096, 0), 0);
    nbd_close(mirror);
    nbd_close(copy);
    return nbdkit_run_holds(&run, 0, 1024, 'o') && nbdkit_run_holds(&run, 1536, 2560, 'o');
}

Test(broken, coarse_marks_are_noticed)
{
    cr_assert(is_noticed(neighbours_of_a_mirrored_sector_are_copied, "break=sector"));
}

static bool mirrored_data_survives_a_copy_in_flight(const char *fault)
{
    start(fault, "copy_delay_ms=600");
    struct nbd_handle *mirror = nbdkit_run_attach(&run, "mirror.1");
    struct late_write copy = {
        .nbd = nbdkit_run_attach(&run, "copy.1"), .byte = 'o', .size = 4096, .offset = 0};
    late_begin(&copy);
    cr_assert_eq(nbdkit_run_write(mirror, 'n', 512, 1024), 0);
    cr_assert_eq(late_join(&copy), 0);
    nbd_close(mirror);
    nbd_close(copy.nbd);
    return nbdkit_run_holds(&run, 1024, 512, 'n');
}

Test(broken, missing_lock_is_noticed)
{
    cr_assert(is_noticed(mirrored_data_survives_a_copy_in_flight, "break=lock"));
}

/* Bytes that an old mirror connection still has in flight when the next epoch begins. */
static bool late_mirror_bytes_are_drained_before_the_next_epoch(const char *fault)
{
    start(fault, "mirror_delay_ms=600");
    struct late_write old = {
        .nbd = nbdkit_run_attach(&run, "mirror.1"), .byte = 'o', .size = 4096, .offset = 0};
    late_begin(&old);
    struct nbd_handle *mirror = nbdkit_run_attach(&run, "mirror.2");
    struct nbd_handle *copy = nbdkit_run_attach(&run, "copy.2");
    cr_assert_eq(nbdkit_run_write(copy, 'n', 4096, 0), 0);
    (void)late_join(&old);
    nbd_close(mirror);
    nbd_close(copy);
    nbd_close(old.nbd);
    return nbdkit_run_holds(&run, 0, 4096, 'n');
}

/* Bytes that an old connection sends after the next epoch has begun. */
static bool bytes_sent_after_the_next_epoch_began_are_refused(const char *fault)
{
    start(fault, "mirror_delay_ms=0");
    struct nbd_handle *old_mirror = nbdkit_run_attach(&run, "mirror.1");
    struct nbd_handle *old_copy = nbdkit_run_attach(&run, "copy.1");
    struct nbd_handle *mirror = nbdkit_run_attach(&run, "mirror.2");
    struct nbd_handle *copy = nbdkit_run_attach(&run, "copy.2");
    cr_assert_eq(nbdkit_run_write(copy, 'n', 8192, 0), 0);
    (void)nbdkit_run_write(old_mirror, 'o', 512, 0);
    (void)nbdkit_run_write(old_copy, 'o', 512, 4096);
    nbd_close(mirror);
    nbd_close(copy);
    nbd_close(old_mirror);
    nbd_close(old_copy);
    return nbdkit_run_holds(&run, 0, 8192, 'n');
}

Test(broken, missing_drain_is_noticed)
{
    cr_assert(is_noticed(late_mirror_bytes_are_drained_before_the_next_epoch, "break=fence"));
}

Test(broken, missing_fence_is_noticed)
{
    cr_assert(is_noticed(bytes_sent_after_the_next_epoch_began_are_refused, "break=fence"));
}
#endif
