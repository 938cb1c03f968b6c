/* The received disk without nbdkit: backends on real files, refusals, remembered failures. */
#include "agent/receiver/plugin/disk.h"

#include "agent/process/child.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/memory.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MIB = 1 << 20 };
static struct error err;
static char path[64];

static void make_file(void)
{
    strcpy(path, "/tmp/crosspool-disk-XXXXXX");
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    cr_assert_eq(ftruncate(fd, MIB), 0);
    close(fd);
}
static void remove_file(void)
{
    unlink(path);
}
TestSuite(disk, .init = make_file, .fini = remove_file, .timeout = 30);

/* A backend that fails on demand. */
struct faulty {
    struct backend base;
    int write_failure, flush_failure;
    atomic_int flushes;
};
static int faulty_write(struct backend *backend, const void *data, size_t size, uint64_t offset)
{
    (void)data, (void)size, (void)offset;
    return ((struct faulty *)backend)->write_failure;
}
static int faulty_zero(struct backend *backend, uint64_t size, uint64_t offset, bool may_trim)
{
    (void)size, (void)offset, (void)may_trim;
    return ((struct faulty *)backend)->write_failure;
}
static int faulty_flush(struct backend *backend)
{
    struct faulty *faulty = (struct faulty *)backend;
    atomic_fetch_add(&faulty->flushes, 1);
    return faulty->flush_failure;
}
static void faulty_close(struct backend *backend)
{
    (void)backend;
}
static const struct backend_driver faulty_driver = {
    .close = faulty_close, .write = faulty_write, .zero = faulty_zero, .flush = faulty_flush};

static struct disk *open_disk(struct backend *backend)
{
    struct disk *disk;
    cr_assert(disk_open(&disk, backend, 1, &err), "%s", err.text);
    return disk;
}

static struct disk *open_file(void)
{
    struct backend *backend;
    cr_assert(backend_open_file(&backend, path, 0, &err), "%s", err.text);
    cr_assert_eq(backend->size_bytes, MIB);
    return open_disk(backend);
}

static struct disk_client attach(struct disk *disk, const char *name)
{
    struct disk_client client;
    cr_assert(disk_attach(disk, name, &client, &err), "%s", err.text);
    return client;
}

static void expect_bytes(off_t offset, size_t size, int byte)
{
    auto_free unsigned char *data = memory_alloc(size);
    auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    cr_assert_eq(pread(fd, data, size, offset), (ssize_t)size);
    for (size_t i = 0; i < size; i++)
        cr_assert_eq(data[i], byte, "at %lld: %d instead of %d", (long long)offset + (long long)i,
                     data[i], byte);
}

Test(disk, export_names_are_strict)
{
    static const char *const wrong[] = {"",
                                        "mirror",
                                        "mirror.",
                                        "mirror.0",
                                        "mirror.-1",
                                        "mirror.+1",
                                        "mirror.01",
                                        "mirror.1x",
                                        "copy. 1",
                                        "Mirror.1",
                                        "mirror.99999999999999999999",
                                        "other.1",
                                        "mirrorcopy.1"};
    struct disk *disk = open_file();
    struct disk_client client;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        cr_assert_not(disk_attach(disk, wrong[i], &client, &err), "%s", wrong[i]);
        cr_assert_eq(err.code, ERROR_NOT_FOUND);
    }
    client = attach(disk, "mirror.9223372036854775807");
    cr_assert_eq(client.epoch, INT64_MAX);
    disk_close(disk);
}

Test(disk, only_whole_sectors_inside_are_taken)
{
    static char data[1024];
    struct disk *disk = open_file();
    struct disk_client mirror = attach(disk, "mirror.1"), copy = attach(disk, "copy.1");
    cr_assert_eq(disk_write(disk, &mirror, data, 100, 0, false), EINVAL);
    cr_assert_eq(disk_write(disk, &mirror, data, 512, 100, false), EINVAL);
    cr_assert_eq(disk_write(disk, &copy, data, 512, MIB, false), EINVAL);
    cr_assert_eq(disk_zero(disk, &copy, 1024, MIB - 512, true, false), EINVAL);
    cr_assert_eq(disk_read(disk, &copy, data, 512, UINT64_MAX - 511), EINVAL);
    cr_assert_eq(disk_write(disk, &mirror, data, 512, MIB - 512, false), 0);
    disk_close(disk);
}

Test(disk, stale_copies_lose_sector_by_sector)
{
    static char old[4096], new[512];
    memset(old, 'o', sizeof old);
    memset(new, 'n', sizeof new);
    struct disk *disk = open_file();
    struct disk_client mirror = attach(disk, "mirror.1"), copy = attach(disk, "copy.1");
    cr_assert_eq(disk_write(disk, &mirror, new, 512, 1024, false), 0);
    cr_assert_eq(disk_zero(disk, &mirror, 512, 2048, true, false), 0);
    cr_assert_eq(disk_write(disk, &copy, old, 4096, 0, false), 0);
    expect_bytes(0, 1024, 'o');
    expect_bytes(1024, 512, 'n');
    expect_bytes(1536, 512, 'o');
    expect_bytes(2048, 512, 0);
    expect_bytes(2560, 1536, 'o');
    cr_assert_eq(disk_zero(disk, &copy, 4096, 0, false, true), 0);
    expect_bytes(0, 1024, 0);
    expect_bytes(1024, 512, 'n');
    disk_close(disk);
}

Test(disk, zeroing_frees_space_where_it_may_and_only_there)
{
    static char data[MIB];
    memset(data, 'x', sizeof data);
    struct disk *disk = open_file();
    struct disk_client mirror = attach(disk, "mirror.1");
    struct stat full, kept, freed;
    cr_assert_eq(disk_write(disk, &mirror, data, MIB, 0, true), 0);
    cr_assert_eq(stat(path, &full), 0);
    cr_assert_eq(disk_zero(disk, &mirror, MIB / 2, 0, false, true), 0);
    cr_assert_eq(stat(path, &kept), 0);
    cr_assert_eq(disk_zero(disk, &mirror, MIB / 2, 0, true, true), 0);
    cr_assert_eq(stat(path, &freed), 0);
    expect_bytes(0, MIB / 2, 0);
    expect_bytes(MIB / 2, MIB / 2, 'x');
    cr_assert_eq(kept.st_blocks, full.st_blocks);
    cr_assert_lt(freed.st_blocks, full.st_blocks);
    cr_assert_eq(freed.st_size, MIB);
    disk_close(disk);
}

Test(disk, a_failed_write_fails_every_flush_of_its_epoch_and_none_of_the_next)
{
    static char data[512];
    struct faulty faulty = {.base = {&faulty_driver, MIB}};
    struct disk *disk = open_disk(&faulty.base);
    struct disk_client mirror = attach(disk, "mirror.1"), copy = attach(disk, "copy.1");
    cr_assert_eq(disk_flush(disk, &copy), 0);
    faulty.write_failure = ENOSPC;
    cr_assert_eq(disk_write(disk, &copy, data, 512, 0, false), ENOSPC);
    faulty.write_failure = 0;
    cr_assert_eq(disk_flush(disk, &mirror), ENOSPC);
    cr_assert_eq(disk_flush(disk, &copy), ENOSPC);
    cr_assert_eq(disk_write(disk, &mirror, data, 512, 0, false), 0);
    cr_assert_eq(disk_write(disk, &mirror, data, 512, 0, true), ENOSPC);
    mirror = attach(disk, "mirror.2");
    cr_assert_eq(disk_flush(disk, &mirror), 0);
    cr_assert_eq(disk_write(disk, &mirror, data, 512, 0, true), 0);
    disk_close(disk);
}

Test(disk, a_failed_flush_is_not_forgotten_when_the_next_succeeds)
{
    struct faulty faulty = {.base = {&faulty_driver, MIB}};
    struct disk *disk = open_disk(&faulty.base);
    struct disk_client mirror = attach(disk, "mirror.1");
    faulty.flush_failure = EIO;
    cr_assert_eq(disk_flush(disk, &mirror), EIO);
    faulty.flush_failure = 0;
    cr_assert_eq(disk_flush(disk, &mirror), EIO);
    disk_close(disk);
}

Test(disk, clients_of_an_older_epoch_are_shut_out)
{
    static char data[512];
    struct disk *disk = open_file();
    struct disk_client mirror = attach(disk, "mirror.1"), copy = attach(disk, "copy.1");
    attach(disk, "mirror.2");
    cr_assert_eq(disk_write(disk, &mirror, data, 512, 0, false), ESHUTDOWN);
    cr_assert_eq(disk_zero(disk, &copy, 512, 0, true, false), ESHUTDOWN);
    cr_assert_eq(disk_read(disk, &copy, data, 512, 0), ESHUTDOWN);
    cr_assert_eq(disk_flush(disk, &copy), ESHUTDOWN);
    disk_close(disk);
}

Test(disk, the_flusher_flushes_after_writes_and_rests_otherwise)
{
    static char data[512];
    struct faulty faulty = {.base = {&faulty_driver, MIB}};
    struct disk *disk = open_disk(&faulty.base);
    struct disk_client mirror = attach(disk, "mirror.1");
    cr_assert(disk_start_flusher(disk, &err), "%s", err.text);
    cr_assert_eq(disk_write(disk, &mirror, data, 512, 0, false), 0);
    for (int i = 0; i < 1500 && atomic_load(&faulty.flushes) == 0; i++)
        usleep(10000);
    usleep(2200000);
    disk_stop_flusher(disk);
    cr_assert_eq(atomic_load(&faulty.flushes), 1);
    disk_close(disk);
}

Test(disk, a_file_has_one_receiver_at_a_time)
{
    struct backend *first, *second;
    cr_assert(backend_open_file(&first, path, 0, &err), "%s", err.text);
    cr_assert_not(backend_open_file(&second, path, 50, &err));
    cr_assert_eq(err.code, ERROR_CONFLICT);
    backend_close(first);
    cr_assert(backend_open_file(&second, path, 50, &err), "%s", err.text);
    backend_close(second);
    cr_assert_not(backend_open_file(&second, "/nonexistent/x", 50, &err));
    cr_assert_eq(err.code, ERROR_NOT_FOUND);
}
