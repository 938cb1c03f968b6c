/* Receivers over the real link: admission, epochs, the flush before a handoff, death and discard.
 */
#include "fixture.h"

#include "agent/process/child.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/memory.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

static struct error err;
TestSuite(receiver, .init = fixture_start, .fini = fixture_stop, .timeout = 120);

static void expect_flush(void)
{
    cr_assert(receiver_flush_and_close(fixture_receivers, MIGRATION, &err), "%s", err.text);
}

/* Begins an epoch on all disks and ends it, so that a flush finds every disk mirrored. */
static void mirror_all(int64_t epoch)
{
    for (int disk = 0; disk < 3; disk++) {
        struct fixture_stream mirror = fixture_attach(LINK_MIRROR, disk, epoch);
        fixture_detach(&mirror);
    }
}

Test(receiver, disks_of_every_format_arrive_and_the_flush_leaves_no_process_behind)
{
    for (int disk = 0; disk < 3; disk++) {
        struct fixture_stream mirror = fixture_attach(LINK_MIRROR, disk, 1);
        struct fixture_stream copy = fixture_attach(LINK_COPY, disk, 1);
        cr_assert_eq(nbd_get_size(mirror.nbd), DISK_BYTES);
        cr_assert_eq(fixture_write(&mirror, 'n', 512, 66048), 0);
        cr_assert_eq(fixture_write(&copy, 'o', 131072, 0), 0);
        cr_assert_eq(nbd_zero(mirror.nbd, 4096, 8192, 0), 0);
        cr_assert_eq(nbd_flush(copy.nbd, 0), 0);
        cr_assert_eq(fixture_write(&mirror, 'm', 512, DISK_BYTES - 512), 0);
        fixture_detach(&mirror);
        fixture_detach(&copy);
    }
    cr_assert_gt(fixture_ledger_count(), 0);
    expect_flush();
    cr_assert_eq(fixture_ledger_count(), 0);
    for (int disk = 0; disk < 3; disk++) {
        cr_assert(fixture_image_holds(disk, 'n', 512, 66048), "disk %d", disk);
        cr_assert(fixture_image_holds(disk, 'o', 8192, 0), "disk %d", disk);
        cr_assert(fixture_image_holds(disk, 0, 4096, 8192), "disk %d", disk);
        cr_assert(fixture_image_holds(disk, 'o', 53760, 12288), "disk %d", disk);
        cr_assert(fixture_image_holds(disk, 'o', 64512, 66560), "disk %d", disk);
        cr_assert(fixture_image_holds(disk, 'm', 512, DISK_BYTES - 512), "disk %d", disk);
        cr_assert_not(fixture_image_holds(disk, 'x', 512, 0), "the check itself");
    }
    auto_free char *image = fixture_image(1);
    auto_free char *check = memory_format("qemu-img check -q -f qcow2 %s", image);
    fixture_run(check);
    expect_flush(); /* safe to repeat */
}

Test(receiver, streams_of_other_hosts_migrations_disks_and_epochs_are_refused)
{
    struct fixture_stream stream;
    struct link_hello hello = {.migration = MIGRATION, .channel = LINK_MIRROR, .epoch = 1};
    cr_assert_not(fixture_try(FIXTURE_STRANGER, &hello, &stream, &err));
    cr_assert_eq(err.code, ERROR_REFUSED);
    cr_assert(strstr(err.text, "is not the source of migration"), "%s", err.text);
    struct link_hello other = {.migration = VDI_RAW, .channel = LINK_MIRROR, .epoch = 1};
    cr_assert_not(fixture_try(FIXTURE_SOURCE, &other, &stream, &err));
    cr_assert_eq(err.code, ERROR_NOT_FOUND);
    err = fixture_refused(LINK_MIRROR, 3, 1);
    cr_assert_eq(err.code, ERROR_INVALID);
    cr_assert(strstr(err.text, "disk 3: the migration has disks 0 to 2"), "%s", err.text);
    err = fixture_refused(LINK_COPY, 0, 1);
    cr_assert_eq(err.code, ERROR_REFUSED);
    cr_assert(strstr(err.text, "copy of epoch 1 of disk 0"), "%s", err.text);
    cr_assert_eq(fixture_ledger_count(), 0, "a refused stream starts nothing");
}

Test(receiver, mirror_epochs_only_grow_over_restarts_too)
{
    struct fixture_stream mirror = fixture_attach(LINK_MIRROR, 0, 5);
    fixture_detach(&mirror);
    err = fixture_refused(LINK_MIRROR, 0, 5);
    cr_assert_eq(err.code, ERROR_REFUSED);
    err = fixture_refused(LINK_MIRROR, 0, 4);
    cr_assert_eq(err.code, ERROR_REFUSED);
    fixture_restart_receivers();
    err = fixture_refused(LINK_MIRROR, 0, 6);
    cr_assert_eq(err.code, ERROR_NOT_FOUND, "not admitted yet");
    cr_assert(receiver_admit(fixture_receivers, &fixture_spec, &err), "%s", err.text);
    err = fixture_refused(LINK_MIRROR, 0, 5);
    cr_assert_eq(err.code, ERROR_REFUSED);
    mirror = fixture_attach(LINK_MIRROR, 0, 6);
    fixture_detach(&mirror);
    struct fixture_stream elsewhere = fixture_attach(LINK_MIRROR, 1, 1);
    fixture_detach(&elsewhere);
}

Test(receiver, new_epoch_ends_the_streams_of_the_old_one)
{
    struct fixture_stream mirror = fixture_attach(LINK_MIRROR, 0, 1);
    struct fixture_stream copy = fixture_attach(LINK_COPY, 0, 1);
    cr_assert_eq(fixture_write(&copy, 'o', 4096, 0), 0);
    struct fixture_stream next = fixture_attach(LINK_MIRROR, 0, 2);
    cr_assert_neq(fixture_write(&mirror, 'x', 4096, 0), 0);
    cr_assert_neq(fixture_write(&copy, 'x', 4096, 0), 0);
    err = fixture_refused(LINK_COPY, 0, 1);
    cr_assert_eq(err.code, ERROR_REFUSED);
    struct fixture_stream again = fixture_attach(LINK_COPY, 0, 2);
    cr_assert_eq(fixture_write(&next, 'n', 512, 0), 0);
    cr_assert_eq(fixture_write(&again, 'c', 4096, 0), 0);
    cr_assert(fixture_image_holds(0, 'n', 512, 0));
    cr_assert(fixture_image_holds(0, 'c', 3584, 512));
    fixture_detach(&mirror);
    fixture_detach(&copy);
    fixture_detach(&next);
    fixture_detach(&again);
}

/* For each process of a receiver: its death ends the epoch, the next epoch has a new receiver. */
static void survives_death_of(const char *program, int disk)
{
    struct fixture_stream mirror = fixture_attach(LINK_MIRROR, disk, 1);
    cr_assert_eq(fixture_write(&mirror, 'a', 4096, 0), 0);
    cr_assert_eq(nbd_flush(mirror.nbd, 0), 0);
    fixture_kill(program, MIGRATION);
    cr_assert_neq(fixture_write(&mirror, 'x', 4096, 4096), 0);
    err = fixture_refused(LINK_COPY, disk, 1);
    cr_assert_eq(err.code, ERROR_MIRROR_LOST);
    struct fixture_stream next = fixture_attach(LINK_MIRROR, disk, 2);
    struct fixture_stream copy = fixture_attach(LINK_COPY, disk, 2);
    cr_assert_eq(fixture_write(&next, 'b', 4096, 4096), 0);
    fixture_detach(&next);
    fixture_detach(&copy);
    fixture_detach(&mirror);
}

Test(receiver, a_killed_nbdkit_is_replaced_for_the_next_epoch)
{
    survives_death_of("nbdkit", 0);
    cr_assert(fixture_image_holds(0, 'a', 4096, 0));
    cr_assert(fixture_image_holds(0, 'b', 4096, 4096));
}

Test(receiver, a_killed_block_server_is_replaced_for_the_next_epoch)
{
    survives_death_of("qemu-storage-daemon", 1);
    for (int disk = 0; disk < 3; disk += 2) {
        struct fixture_stream mirror = fixture_attach(LINK_MIRROR, disk, 1);
        fixture_detach(&mirror);
    }
    expect_flush();
    cr_assert(fixture_image_holds(1, 'a', 4096, 0));
    cr_assert(fixture_image_holds(1, 'b', 4096, 4096));
}

Test(receiver, flush_refuses_what_it_cannot_promise)
{
    cr_assert_not(receiver_flush_and_close(fixture_receivers, MIGRATION, &err));
    cr_assert_eq(err.code, ERROR_CONFLICT);
    cr_assert_str_eq(err.text, "disk 0 was never mirrored");
    cr_assert(receiver_reopen(fixture_receivers, MIGRATION, &err), "%s", err.text);
    mirror_all(1);
    fixture_kill("nbdkit", MIGRATION "-1");
    cr_assert_not(receiver_flush_and_close(fixture_receivers, MIGRATION, &err));
    cr_assert_eq(err.code, ERROR_MIRROR_LOST);
    cr_assert_not(receiver_flush_and_close(fixture_receivers, VDI_RAW, &err));
    cr_assert_eq(err.code, ERROR_NOT_FOUND);
}

static void *detach_later(void *context)
{
    clock_sleep_ms(700);
    fixture_detach(context);
    return NULL;
}

Test(receiver, flush_waits_for_streams_to_end)
{
    mirror_all(1);
    struct fixture_stream mirror = fixture_attach(LINK_MIRROR, 0, 2);
    cr_assert_eq(fixture_write(&mirror, 'z', 4096, 0), 0);
    pthread_t thread;
    int64_t begin = clock_monotonic_ms();
    pthread_create(&thread, NULL, detach_later, &mirror);
    expect_flush();
    cr_assert_geq(clock_monotonic_ms() - begin, 600);
    pthread_join(thread, NULL);
    cr_assert(fixture_image_holds(0, 'z', 4096, 0));
}

Test(receiver, full_storage_fails_the_flush_as_no_space)
{
    auto_free char *command =
        memory_format("cd %s && mount -t tmpfs -o size=2m none sr.small && cp -a --sparse=always "
                      "sr/. sr.small && mount --move sr.small sr",
                      fixture_folder);
    auto_free char *small = fixture_path("sr.small");
    cr_assert(file_make_directory(small, 0700, &err));
    const char *argv[] = {"sh", "-c", command, NULL};
    if (!child_run(argv, 10000, 65536, NULL, &err))
        cr_skip("needs to mount a tmpfs");
    mirror_all(1);
    struct fixture_stream mirror = fixture_attach(LINK_MIRROR, 0, 2);
    int failed = 0;
    for (uint64_t offset = 0; offset < DISK_BYTES && !failed; offset += 256 << 10)
        failed = fixture_write(&mirror, 'f', 256 << 10, offset);
    cr_assert_eq(failed, ENOSPC);
    fixture_detach(&mirror);
    cr_assert_not(receiver_flush_and_close(fixture_receivers, MIGRATION, &err));
    cr_assert_eq(err.code, ERROR_NO_SPACE, "%s", err.text);
}

Test(receiver, closed_for_the_handoff_until_reopened)
{
    mirror_all(1);
    expect_flush();
    err = fixture_refused(LINK_MIRROR, 0, 2);
    cr_assert_eq(err.code, ERROR_CONFLICT);
    cr_assert(receiver_reopen(fixture_receivers, MIGRATION, &err), "%s", err.text);
    cr_assert_not(receiver_flush_and_close(fixture_receivers, MIGRATION, &err),
                  "nothing was mirrored since");
    cr_assert_eq(err.code, ERROR_MIRROR_LOST);
    cr_assert(receiver_reopen(fixture_receivers, MIGRATION, &err), "%s", err.text);
    mirror_all(2);
    expect_flush();
}

Test(receiver, discard_ends_everything_and_is_safe_to_repeat)
{
    struct fixture_stream raw = fixture_attach(LINK_MIRROR, 0, 1);
    struct fixture_stream qcow2 = fixture_attach(LINK_MIRROR, 1, 1);
    cr_assert(receiver_discard(fixture_receivers, MIGRATION, &err), "%s", err.text);
    cr_assert_eq(fixture_ledger_count(), 0);
    cr_assert_neq(fixture_write(&raw, 'x', 512, 0), 0);
    cr_assert_neq(fixture_write(&qcow2, 'x', 512, 0), 0);
    fixture_detach(&raw);
    fixture_detach(&qcow2);
    auto_free char *left = memory_format("test -z \"$(ls %s/run/rx)\"", fixture_folder);
    fixture_run(left);
    cr_assert(receiver_discard(fixture_receivers, MIGRATION, &err), "%s", err.text);
    err = fixture_refused(LINK_MIRROR, 0, 2);
    cr_assert_eq(err.code, ERROR_NOT_FOUND);
}

Test(receiver, what_a_killed_agent_left_is_cleaned_at_admission)
{
    auto_free char *socket = fixture_path("run/rx/" MIGRATION "-0.nbd");
    auto_free char *process = memory_format("nbdkit %s", socket);
    fixture_restart_receivers();
    cr_assert(journal_ledger_add(fixture_journal, MIGRATION, "receiver", process, &err));
    cr_assert(journal_ledger_add(fixture_journal, MIGRATION, "socket", socket, &err));
    cr_assert(journal_ledger_add(fixture_journal, MIGRATION, "socket", "/of/others", &err));
    cr_assert(file_write(socket, 0600, "", 0, &err));
    cr_assert(receiver_admit(fixture_receivers, &fixture_spec, &err), "%s", err.text);
    cr_assert_eq(fixture_ledger_count(), 1, "the socket of others");
    cr_assert_neq(access(socket, F_OK), 0);
}

Test(receiver, an_image_of_another_size_is_refused)
{
    ((struct spec_disk *)fixture_spec.disks.items)[0].size_bytes = DISK_BYTES + 512;
    fixture_restart_receivers();
    cr_assert(receiver_admit(fixture_receivers, &fixture_spec, &err), "%s", err.text);
    err = fixture_refused(LINK_MIRROR, 0, 1);
    cr_assert(strstr(err.text, "the image has 8388608 bytes: expected 8389120"), "%s", err.text);
    cr_assert_eq(fixture_ledger_count(), 0);
}

Test(receiver, configuration_is_checked_at_once)
{
    struct receiver_set *none;
    struct receiver_config config = {.run_directory = fixture_folder, .plugin_path = "/missing.so"};
    cr_assert_not(receiver_set_open(&none, &config, &err));
    cr_assert(strstr(err.text, "nbdkit plugin /missing.so"), "%s", err.text);
    char deep[120];
    memset(deep, 'x', sizeof deep - 1);
    deep[0] = '/';
    deep[sizeof deep - 1] = '\0';
    config = (struct receiver_config){.run_directory = deep, .plugin_path = PLUGIN_PATH};
    cr_assert_not(receiver_set_open(&none, &config, &err));
    cr_assert(strstr(err.text, "too long for the names of sockets"), "%s", err.text);
}
