/* The copier against a real nbdkit: what arrives, what is skipped, how it stops and fails. */
#include "agent/mirror/copier.h"

#include "agent/mirror/nbd_client.h"
#include "agent/process/child.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/memory.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

enum { MIB = 1 << 20, SIZE = 24 * MIB + 1536 };

static char folder[] = "/tmp/copier-XXXXXX";
static char *source_path, *destination_path, *map_path, *log_path;

static char *in_folder(const char *name)
{
    return memory_format("%s/%s", folder, name);
}

static void setup(void)
{
    struct error err;
    cr_assert(mkdtemp(folder));
    cr_assert(child_start_spawner(&err), "%s", err.text);
    source_path = in_folder("source");
    destination_path = in_folder("destination");
    map_path = in_folder("map");
    log_path = in_folder("log");
}
static void teardown(void)
{
    struct error err;
    cr_assert(file_remove_tree(folder, &err), "%s", err.text);
    free(source_path);
    free(destination_path);
    free(map_path);
    free(log_path);
}
TestSuite(copier, .init = setup, .fini = teardown, .timeout = 60);

static char *open_mapped(const char *path, bool is_new)
{
    auto_close int fd = open(path, O_RDWR | O_CREAT, 0600);
    cr_assert_geq(fd, 0);
    if (is_new)
        cr_assert_eq(ftruncate(fd, SIZE), 0);
    char *data = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    cr_assert_neq(data, MAP_FAILED);
    return data;
}

static void scribble(char *data, size_t size)
{
    uint32_t x = 2463534242;
    for (size_t i = 0; i < size; i++) {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        data[i] = (char)x;
    }
}

/* Data with a large hole, small holes, and blocks of written zeroes. */
static char *make_source(void)
{
    char *data = open_mapped(source_path, true);
    scribble(data, 3 * MIB);
    scribble(data + 8 * MIB, 4 * MIB);
    memset(data + 9 * MIB, 0, MIB);
    memset(data + 10 * MIB + 40960, 0, 65536);
    scribble(data + 24 * MIB, 1536);
    return data;
}

static struct child *serve(const char *socket_name, const char *arg1, const char *arg2,
                           const char *arg3)
{
    struct error err;
    struct child *child = NULL;
    auto_free char *socket_path = in_folder(socket_name);
    const char *argv[] = {"nbdkit", "-f", "-U", socket_path, arg1, arg2, arg3, NULL};
    cr_assert(child_start(argv, log_path, -1, &child, &err), "%s", err.text);
    cr_assert(child_wait_for_path(child, socket_path, 5000, &err), "%s", err.text);
    return child;
}

static bool connect_to(void *context, int i, int *fd, struct error *err)
{
    (void)i;
    *fd = nbd_client_connect_unix(context, err);
    return *fd >= 0;
}

struct job {
    struct chunk_map *map;
    struct copier *copier;
    char *socket_path;
};

static void start(struct job *job, enum disk_reader reader, const char *path, bool may_skip_holes,
                  uint64_t bandwidth)
{
    struct error err;
    if (!job->map)
        cr_assert(chunk_map_open(&job->map, map_path, "", SIZE, COPY_CHUNK_BYTES, &err), "%s",
                  err.text);
    job->socket_path = in_folder("destination.sock");
    struct copier_source source = {
        .reader = reader, .path = path, .size_bytes = SIZE, .may_skip_holes = may_skip_holes};
    struct copier_options options = {.connections = 3,
                                     .queue_depth = 8,
                                     .bandwidth_bytes_per_s = bandwidth,
                                     .connect = connect_to,
                                     .context = job->socket_path,
                                     .export_name = "copy.1"};
    cr_assert(copier_start(&job->copier, &source, job->map, &options, &err), "%s", err.text);
}

static void finish(struct job *job)
{
    struct error err;
    bool has_ended = false;
    cr_assert(copier_join(job->copier, 30000, &has_ended, &err), "%s", err.text);
    cr_assert(has_ended);
    for (uint64_t chunk = 0; chunk < chunk_map_count(job->map); chunk++)
        cr_assert(chunk_map_is_done(job->map, chunk), "chunk %d", (int)chunk);
}

static void release(struct job *job)
{
    copier_free(job->copier);
    chunk_map_close(job->map);
    free(job->socket_path);
    *job = (struct job){0};
}

static void assert_same(const char *expected)
{
    char *data = open_mapped(destination_path, false);
    cr_assert_eq(memcmp(data, expected, SIZE), 0);
    munmap(data, SIZE);
}

Test(copier, copies_a_file_onto_a_fresh_destination_without_sending_zeroes)
{
    char *source = make_source();
    munmap(open_mapped(destination_path, true), SIZE);
    struct child *server = serve("destination.sock", "file", destination_path, NULL);
    struct job job = {0};
    start(&job, READER_FILE, source_path, true, 0);
    finish(&job);
    struct copier_numbers numbers;
    copier_numbers(job.copier, &numbers);
    cr_assert_eq(numbers.copied_bytes, SIZE);
    cr_assert_eq(numbers.sent_bytes, 6 * MIB - 32768 + 1536);
    cr_assert_eq(numbers.zero_bytes, SIZE - numbers.sent_bytes);
    struct stat st;
    cr_assert_eq(stat(destination_path, &st), 0);
    cr_assert_lt(st.st_blocks * 512, 7 * MIB, "zeroes were allocated");
    assert_same(source);
    release(&job);
    child_stop(server, 1000);
}

static void copy_over_old_data(const char *filter)
{
    char *source = make_source();
    char *old = open_mapped(destination_path, true);
    memset(old, 0x5a, SIZE);
    struct child *server = filter ? serve("destination.sock", filter, "file", destination_path)
                                  : serve("destination.sock", "file", destination_path, NULL);
    struct job job = {0};
    start(&job, READER_FILE, source_path, false, 0);
    finish(&job);
    assert_same(source);
    release(&job);
    child_stop(server, 1000);
}

Test(copier, writes_zeroes_where_the_destination_may_hold_old_data)
{
    copy_over_old_data(NULL);
}

Test(copier, writes_zeroes_to_a_destination_that_knows_no_zero_requests)
{
    copy_over_old_data("--filter=nozero");
}

static void copy_from_nbd(bool may_skip_holes)
{
    char *source = make_source();
    memset(open_mapped(destination_path, true), may_skip_holes ? 0 : 0x5a, SIZE);
    struct child *reader = serve("source.sock", "-r", "file", source_path);
    struct child *server = serve("destination.sock", "file", destination_path, NULL);
    auto_free char *reader_path = in_folder("source.sock");
    struct job job = {0};
    start(&job, READER_NBD_SOCKET, reader_path, may_skip_holes, 0);
    finish(&job);
    assert_same(source);
    struct copier_numbers numbers;
    copier_numbers(job.copier, &numbers);
    cr_assert_leq(numbers.sent_bytes, 8 * MIB);
    release(&job);
    child_stop(server, 1000);
    child_stop(reader, 1000);
}

Test(copier, copies_from_an_nbd_socket_onto_a_fresh_destination)
{
    copy_from_nbd(true);
}

Test(copier, copies_from_an_nbd_socket_over_old_data)
{
    copy_from_nbd(false);
}

Test(copier, sends_only_the_wanted_blocks_of_chunks_that_were_done)
{
    char *source = make_source();
    char *destination = open_mapped(destination_path, true);
    memset(destination, 0x5a, SIZE);
    struct child *server = serve("destination.sock", "file", destination_path, NULL);
    struct job job = {0};
    struct error err;
    cr_assert(chunk_map_open(&job.map, map_path, "", SIZE, COPY_CHUNK_BYTES, &err));
    for (uint64_t chunk = 0; chunk < chunk_map_count(job.map); chunk++)
        chunk_map_set_done(job.map, chunk);
    chunk_map_clear_range(job.map, MIB + 4096, 4096);
    chunk_map_clear_range(job.map, MIB + 16384, 1);
    chunk_map_clear_range(job.map, 24 * MIB, 1536);
    start(&job, READER_FILE, source_path, false, 0);
    finish(&job);
    struct copier_numbers numbers;
    copier_numbers(job.copier, &numbers);
    cr_assert_eq(numbers.sent_bytes, 2 * 4096 + 1536);
    cr_assert_eq(memcmp(destination + MIB + 4096, source + MIB + 4096, 4096), 0);
    cr_assert_eq(memcmp(destination + MIB + 16384, source + MIB + 16384, 4096), 0);
    cr_assert_eq(memcmp(destination + 24 * MIB, source + 24 * MIB, 1536), 0);
    cr_assert_eq(destination[MIB], 0x5a);
    cr_assert_eq(destination[MIB + 8192], 0x5a);
    cr_assert_eq(destination[23 * MIB], 0x5a);
    release(&job);
    child_stop(server, 1000);
}

Test(copier, a_full_destination_is_no_space)
{
    munmap(make_source(), SIZE);
    struct child *server = serve("destination.sock", "--filter=error", "memory", "26M");
    child_stop(server, 1000);
    auto_free char *size = memory_format("%d", SIZE);
    auto_free char *socket_path = in_folder("destination.sock");
    unlink(socket_path);
    const char *argv[] = {"nbdkit",
                          "-f",
                          "-U",
                          socket_path,
                          "--filter=error",
                          "memory",
                          size,
                          "error-pwrite=ENOSPC",
                          "error-pwrite-rate=100%",
                          NULL};
    struct error err;
    cr_assert(child_start(argv, log_path, -1, &server, &err), "%s", err.text);
    cr_assert(child_wait_for_path(server, socket_path, 5000, &err), "%s", err.text);
    struct job job = {0};
    start(&job, READER_FILE, source_path, true, 0);
    bool has_ended = false;
    cr_assert_not(copier_join(job.copier, 30000, &has_ended, &err));
    cr_assert_eq(err.code, ERROR_NO_SPACE);
    cr_assert_str_eq(err.text, "write the destination disk: No space left on device");
    release(&job);
    child_stop(server, 1000);
}

Test(copier, a_failed_flush_marks_nothing_as_done)
{
    munmap(make_source(), SIZE);
    auto_free char *size = memory_format("%d", SIZE);
    auto_free char *socket_path = in_folder("destination.sock");
    const char *argv[] = {"nbdkit",
                          "-f",
                          "-U",
                          socket_path,
                          "eval",
                          memory_format("get_size=echo %d", SIZE),
                          "pwrite=cat >/dev/null",
                          "can_write=exit 0",
                          "can_flush=exit 0",
                          "flush=echo EIO disk >&2; exit 1",
                          NULL};
    struct error err;
    struct child *server;
    cr_assert(child_start(argv, log_path, -1, &server, &err), "%s", err.text);
    cr_assert(child_wait_for_path(server, socket_path, 5000, &err), "%s", err.text);
    struct job job = {0};
    start(&job, READER_FILE, source_path, false, 0);
    bool has_ended = false;
    cr_assert_not(copier_join(job.copier, 30000, &has_ended, &err));
    cr_assert_eq(err.code, ERROR_UNREACHABLE);
    cr_assert_str_eq(err.text, "flush the destination disk: Input/output error");
    cr_assert_eq(chunk_map_done_bytes(job.map), 0);
    release(&job);
    child_stop(server, 1000);
    free((char *)argv[5]);
}

Test(copier, a_destination_of_another_size_is_refused)
{
    munmap(make_source(), SIZE);
    struct child *server = serve("destination.sock", "memory", "23M", NULL);
    struct job job = {0};
    start(&job, READER_FILE, source_path, true, 0);
    struct error err;
    bool has_ended = false;
    cr_assert_not(copier_join(job.copier, 30000, &has_ended, &err));
    cr_assert_eq(err.code, ERROR_INVALID);
    cr_assert_str_eq(err.text, "the destination disk has 24117248 bytes, expected 25167360");
    release(&job);
    child_stop(server, 1000);
}

Test(copier, stops_within_a_second_although_the_destination_does_not_answer)
{
    munmap(make_source(), SIZE);
    auto_free char *size = memory_format("%d", SIZE);
    auto_free char *socket_path = in_folder("destination.sock");
    const char *argv[] = {"nbdkit", "-f", "-U",         socket_path, "--filter=delay",
                          "memory", size, "wdelay=600", NULL};
    struct error err;
    struct child *server;
    cr_assert(child_start(argv, log_path, -1, &server, &err), "%s", err.text);
    cr_assert(child_wait_for_path(server, socket_path, 5000, &err), "%s", err.text);
    struct job job = {0};
    start(&job, READER_FILE, source_path, true, 0);
    bool has_ended = false;
    cr_assert(copier_join(job.copier, 500, &has_ended, &err));
    cr_assert_not(has_ended);
    int64_t started_ms = clock_monotonic_ms();
    copier_cancel(job.copier);
    cr_assert_not(copier_join(job.copier, 5000, &has_ended, &err));
    cr_assert(has_ended);
    cr_assert_eq(err.code, ERROR_CANCELLED);
    cr_assert_lt(clock_monotonic_ms() - started_ms, 1000);
    cr_assert_eq(chunk_map_is_done(job.map, 0), false);
    release(&job);
    child_stop(server, 0);
}

Test(copier, a_killed_destination_is_unreachable_and_the_rest_is_copied_later)
{
    char *source = make_source();
    munmap(open_mapped(destination_path, true), SIZE);
    struct child *server = serve("destination.sock", "file", destination_path, NULL);
    struct job job = {0};
    start(&job, READER_FILE, source_path, false, 4 * MIB);
    clock_sleep_ms(400);
    child_stop(server, 0);
    struct error err;
    bool has_ended = false;
    cr_assert_not(copier_join(job.copier, 5000, &has_ended, &err));
    cr_assert_eq(err.code, ERROR_UNREACHABLE, "%s", err.text);
    cr_assert_lt(chunk_map_done_bytes(job.map), SIZE);
    release(&job);

    auto_free char *socket_path = in_folder("destination.sock");
    unlink(socket_path);
    server = serve("destination.sock", "file", destination_path, NULL);
    start(&job, READER_FILE, source_path, false, 0);
    finish(&job);
    assert_same(source);
    release(&job);
    child_stop(server, 1000);
}

Test(copier, keeps_to_its_bandwidth_and_takes_a_new_one)
{
    munmap(make_source(), SIZE);
    auto_free char *size = memory_format("%d", SIZE);
    struct child *server = serve("destination.sock", "memory", size, NULL);
    struct job job = {0};
    start(&job, READER_FILE, source_path, true, 2 * MIB);
    struct error err;
    bool has_ended = false;
    int64_t started_ms = clock_monotonic_ms();
    cr_assert(copier_join(job.copier, 1000, &has_ended, &err));
    struct copier_numbers numbers;
    copier_numbers(job.copier, &numbers);
    cr_assert_lt(numbers.sent_bytes, 4 * MIB);
    cr_assert_gt(numbers.sent_bytes, MIB);
    cr_assert_not(has_ended);
    copier_set_bandwidth(job.copier, 0);
    finish(&job);
    cr_assert_lt(clock_monotonic_ms() - started_ms, 2500);
    release(&job);
    child_stop(server, 1000);
}
