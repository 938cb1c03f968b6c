/* The product module under nbdkit with libnbd clients. */
#include "nbdkit_run.h"

#include "base/cleanup.h"
#include "base/memory.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

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
TestSuite(nbdkit, .init = init, .fini = done, .timeout = 60);

static void start(const char *const *parameters)
{
    nbdkit_run_start(&run, PLUGIN_PATH, parameters);
}

Test(nbdkit, offers_what_qemu_and_the_copier_need)
{
    start(NULL);
    struct nbd_handle *mirror = nbdkit_run_attach(&run, "mirror.1");
    cr_assert_eq(nbd_get_size(mirror), MIB);
    cr_assert_eq(nbd_get_block_size(mirror, LIBNBD_SIZE_MINIMUM), 512);
    cr_assert_eq(nbd_is_read_only(mirror), 0);
    cr_assert_eq(nbd_can_zero(mirror), 1);
    cr_assert_eq(nbd_can_trim(mirror), 1);
    cr_assert_eq(nbd_can_flush(mirror), 1);
    cr_assert_eq(nbd_can_fua(mirror), 1);
    cr_assert_eq(nbd_can_multi_conn(mirror), 1);
    nbd_close(mirror);
}

Test(nbdkit, stale_copy_never_overwrites_a_mirrored_sector)
{
    start(NULL);
    struct nbd_handle *mirror = nbdkit_run_attach(&run, "mirror.1");
    struct nbd_handle *copy = nbdkit_run_attach(&run, "copy.1");
    cr_assert_eq(nbdkit_run_write(mirror, 'n', 512, 1024), 0);
    cr_assert_eq(nbd_zero(mirror, 512, 2048, 0), 0);
    cr_assert_eq(nbd_trim(mirror, 1024, 4096, 0), 0);
    cr_assert_eq(nbdkit_run_write(copy, 'o', 65536, 0), 0);
    cr_assert(nbdkit_run_holds(&run, 0, 1024, 'o'));
    cr_assert(nbdkit_run_holds(&run, 1024, 512, 'n'));
    cr_assert(nbdkit_run_holds(&run, 1536, 512, 'o'));
    cr_assert(nbdkit_run_holds(&run, 2048, 512, 0));
    cr_assert(nbdkit_run_holds(&run, 2560, 1536, 'o'));
    cr_assert(nbdkit_run_holds(&run, 4096, 1024, 0));
    cr_assert(nbdkit_run_holds(&run, 5120, 60416, 'o'));
    cr_assert_eq(nbd_zero(copy, MIB, 0, 0), 0);
    cr_assert_eq(nbd_trim(copy, MIB, 0, 0), 0);
    cr_assert(nbdkit_run_holds(&run, 0, 1024, 0));
    cr_assert(nbdkit_run_holds(&run, 1024, 512, 'n'));
    cr_assert_eq(nbdkit_run_write(mirror, 'm', 512, 1024), 0);
    cr_assert(nbdkit_run_holds(&run, 1024, 512, 'm'));
    nbd_close(mirror);
    nbd_close(copy);
}

Test(nbdkit, fua_and_flush_are_answered)
{
    static char data[4096] = "x";
    start(NULL);
    struct nbd_handle *mirror = nbdkit_run_attach(&run, "mirror.1");
    cr_assert_eq(nbd_pwrite(mirror, data, sizeof data, 0, LIBNBD_CMD_FLAG_FUA), 0);
    cr_assert_eq(nbd_zero(mirror, 4096, 4096, LIBNBD_CMD_FLAG_FUA | LIBNBD_CMD_FLAG_NO_HOLE), 0);
    cr_assert_eq(nbd_flush(mirror, 0), 0);
    nbd_close(mirror);
}

Test(nbdkit, partial_sectors_are_refused_and_change_nothing)
{
    start(NULL);
    struct nbd_handle *mirror = nbdkit_run_attach(&run, "mirror.1");
    struct nbd_handle *copy = nbdkit_run_attach(&run, "copy.1");
    cr_assert_eq(nbdkit_run_write(mirror, 'n', 100, 0), EINVAL);
    cr_assert_eq(nbdkit_run_write(copy, 'o', 512, 256), EINVAL);
    cr_assert(nbdkit_run_holds(&run, 0, 4096, 0));
    nbd_close(mirror);
    nbd_close(copy);
}

Test(nbdkit, one_mirror_for_each_epoch_and_copies_only_in_it)
{
    start((const char *const[]){"min_epoch=3", NULL});
    cr_assert_null(nbdkit_run_try_attach(&run, "mirror.2"));
    cr_assert_null(nbdkit_run_try_attach(&run, "copy.3"));
    cr_assert_null(nbdkit_run_try_attach(&run, "nothing"));
    cr_assert_null(nbdkit_run_try_attach(&run, ""));
    struct nbd_handle *mirror = nbdkit_run_attach(&run, "mirror.3");
    cr_assert_null(nbdkit_run_try_attach(&run, "mirror.3"));
    struct nbd_handle *copy = nbdkit_run_attach(&run, "copy.3");
    cr_assert_null(nbdkit_run_try_attach(&run, "copy.2"));
    cr_assert_null(nbdkit_run_try_attach(&run, "copy.4"));
    nbd_close(mirror);
    cr_assert_null(nbdkit_run_try_attach(&run, "mirror.3"), "ever");
    nbd_close(copy);
}

Test(nbdkit, new_epoch_shuts_old_handles_out_and_clears_the_marks)
{
    start(NULL);
    struct nbd_handle *mirror = nbdkit_run_attach(&run, "mirror.1");
    struct nbd_handle *copy = nbdkit_run_attach(&run, "copy.1");
    cr_assert_eq(nbdkit_run_write(mirror, 'n', 4096, 0), 0);
    struct nbd_handle *next = nbdkit_run_attach(&run, "mirror.2");
    cr_assert_eq(nbdkit_run_write(mirror, 'x', 512, 0), ESHUTDOWN);
    cr_assert_eq(nbdkit_run_write(copy, 'x', 512, 8192), ESHUTDOWN);
    cr_assert_neq(nbd_flush(copy, 0), 0);
    cr_assert(nbdkit_run_holds(&run, 0, 4096, 'n'));
    cr_assert(nbdkit_run_holds(&run, 8192, 512, 0));
    struct nbd_handle *again = nbdkit_run_attach(&run, "copy.2");
    cr_assert_eq(nbdkit_run_write(again, 'c', 4096, 0), 0);
    cr_assert(nbdkit_run_holds(&run, 0, 4096, 'c'));
    nbd_close(mirror);
    nbd_close(copy);
    nbd_close(next);
    nbd_close(again);
}

Test(nbdkit, killed_and_restarted_it_admits_only_later_epochs)
{
    start(NULL);
    struct nbd_handle *mirror = nbdkit_run_attach(&run, "mirror.1");
    cr_assert_eq(nbdkit_run_write(mirror, 'n', 4096, 0), 0);
    nbdkit_run_kill(&run);
    cr_assert_neq(nbdkit_run_write(mirror, 'x', 512, 0), 0);
    nbd_close(mirror);
    start((const char *const[]){"min_epoch=2", NULL});
    cr_assert_null(nbdkit_run_try_attach(&run, "mirror.1"));
    cr_assert_null(nbdkit_run_try_attach(&run, "copy.1"));
    mirror = nbdkit_run_attach(&run, "mirror.2");
    cr_assert(nbdkit_run_holds(&run, 0, 4096, 'n'), "what was acknowledged is there");
    nbd_close(mirror);
}

static void expect_refusal(const char *module, const char *const *parameters, const char *text)
{
    struct error err = {0};
    cr_assert_not(nbdkit_run_try(&run, module, parameters, &err));
    cr_assert(strstr(err.text, text), "%s", err.text);
}

Test(nbdkit, wrong_parameters_are_named)
{
    expect_refusal(PLUGIN_PATH, (const char *const[]){"min_epoch=0", NULL},
                   "min_epoch=0: expected 1 to ");
    expect_refusal(PLUGIN_PATH, (const char *const[]){"unix=/x", NULL},
                   "expected exactly one of file=PATH and unix=SOCKET");
    expect_refusal(PLUGIN_PATH, (const char *const[]){"size=4096", NULL},
                   "the image has 1048576 bytes: expected 4096");
    expect_refusal(PLUGIN_PATH, (const char *const[]){"handles=17", NULL},
                   "handles=17: expected 1 to 16");
    expect_refusal(PLUGIN_PATH, (const char *const[]){"break=mask", NULL},
                   "unknown parameter \"break\"");
    cr_assert_eq(truncate(run.file, 1000), 0);
    expect_refusal(PLUGIN_PATH, NULL, "disk of 1000 bytes: expected a positive multiple of 512");
}

/* A disk of 8 MiB on a filesystem that holds one; needs to be root. */
static bool start_on_small_storage(void)
{
    auto_free char *small = memory_format("%s/small", run.folder);
    cr_assert_eq(mkdir(small, 0700), 0);
    if (mount("none", small, "tmpfs", 0, "size=1m,mode=700") < 0)
        return false;
    snprintf(run.file, sizeof run.file, "%s/disk", small);
    FILE *file = fopen(run.file, "w");
    bool is_made = file && ftruncate(fileno(file), 8 * MIB) == 0;
    if (file)
        fclose(file);
    struct error err;
    if (is_made && nbdkit_run_try(&run, PLUGIN_PATH, NULL, &err))
        return true;
    umount(small);
    cr_assert(false, "no receiver on the small storage");
    return false;
}

/* What happened there; asserted after the unmount. */
struct fullness {
    int first, flush, flush_after_room, flush_in_next_epoch;
};

static struct fullness fill_up(void)
{
    struct fullness seen = {0};
    struct nbd_handle *mirror = nbdkit_run_attach(&run, "mirror.1");
    struct nbd_handle *copy = nbdkit_run_attach(&run, "copy.1");
    for (uint64_t i = 0; i < 16 && !seen.first; i++)
        seen.first = nbdkit_run_write(mirror, 'x', 128 << 10, i * (128 << 10));
    seen.flush = nbd_flush(copy, 0) ? nbd_get_errno() : 0;
    (void)nbd_zero(copy, 4 * MIB, 4 * MIB, 0);
    (void)nbd_trim(mirror, 4 * MIB, 0, 0); /* makes room */
    seen.flush_after_room = nbd_flush(copy, 0) ? nbd_get_errno() : 0;
    struct nbd_handle *next = nbdkit_run_attach(&run, "mirror.2");
    seen.flush_in_next_epoch = nbd_flush(next, 0) ? nbd_get_errno() : 0;
    nbd_close(mirror);
    nbd_close(copy);
    nbd_close(next);
    return seen;
}

Test(nbdkit, full_storage_reaches_the_client_and_is_remembered)
{
    if (!start_on_small_storage())
        cr_skip("needs to mount a tmpfs");
    auto_free char *small = memory_format("%s/small", run.folder);
    struct fullness seen = fill_up();
    nbdkit_run_stop(&run);
    umount(small);
    cr_assert_eq(seen.first, ENOSPC);
    cr_assert_eq(seen.flush, ENOSPC);
    cr_assert_eq(seen.flush_after_room, ENOSPC);
    cr_assert_eq(seen.flush_in_next_epoch, 0);
}
