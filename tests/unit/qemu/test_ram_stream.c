/* The stream between save and restore: what is written is read, anything else is refused. */
#include "agent/hypervisor/qemu/ram_scan.h"
#include "agent/hypervisor/qemu/ram_stream.h"

#include "base/cleanup.h"
#include "base/memory.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>

enum { RAM_BYTES = 8 << 20 };

static int make_file(off_t size)
{
    int fd = memfd_create("test", MFD_CLOEXEC);
    cr_assert_geq(fd, 0);
    cr_assert_eq(ftruncate(fd, size), 0);
    return fd;
}

/* A whole small stream in a file. */
static int make_stream(void)
{
    struct error err;
    struct ram_writer writer;
    static char pages[2 * RAM_PAGE];
    memset(pages, 7, sizeof pages);
    auto_close int devices = make_file(0);
    cr_assert_eq(write(devices, "devices", 7), 7);
    int fd = make_file(0);
    cr_assert(ram_writer_init(&writer, fd, &err));
    cr_assert(ram_write_hello(&writer, RAM_BYTES, &err));
    cr_assert(ram_write_pages(&writer, RAM_PAGE, pages, sizeof pages, &err));
    cr_assert(ram_write_suspended(&writer, &err));
    cr_assert(ram_write_zeroes(&writer, 2 * RAM_PAGE, RAM_PAGE, &err));
    cr_assert(ram_write_end(&writer, devices, &err), "%s", err.text);
    ram_writer_done(&writer);
    lseek(fd, 0, SEEK_SET);
    return fd;
}

/* Reads to END; false with the reason. */
static bool read_stream(int fd, int *records, struct error *err)
{
    struct ram_reader reader;
    struct ram_record record = {0};
    bool is_good = ram_reader_init(&reader, fd, RAM_BYTES, err);
    for (*records = 0; is_good && record.kind != RAM_END; ++*records)
        is_good = ram_read(&reader, &record, err);
    ram_reader_done(&reader);
    return is_good;
}

Test(ram_stream, what_is_written_is_read)
{
    struct error err;
    struct ram_reader reader;
    struct ram_record record;
    auto_close int fd = make_stream();
    cr_assert(ram_reader_init(&reader, fd, RAM_BYTES, &err), "%s", err.text);
    cr_assert(ram_read(&reader, &record, &err));
    cr_assert_eq(record.kind, RAM_PAGES);
    cr_assert_eq(record.offset, RAM_PAGE);
    cr_assert_eq(record.length, 2 * RAM_PAGE);
    cr_assert_eq(((const char *)record.data)[2 * RAM_PAGE - 1], 7);
    static const enum ram_record_kind kinds[] = {RAM_SUSPENDED, RAM_ZEROES, RAM_RAM_END,
                                                 RAM_DEVICES, RAM_END};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        cr_assert(ram_read(&reader, &record, &err), "%s", err.text);
        cr_assert_eq(record.kind, kinds[i]);
        if (record.kind == RAM_DEVICES)
            cr_assert_eq(memcmp(record.data, "devices", 7), 0);
    }
    cr_assert_not(ram_read(&reader, &record, &err), "nothing comes after END");
    ram_reader_done(&reader);
}

Test(ram_stream, every_cut_is_noticed)
{
    struct error err;
    int records;
    auto_close int fd = make_stream();
    off_t size = lseek(fd, 0, SEEK_END);
    for (off_t cut = size - 1; cut >= 0; cut -= cut > 8400 ? 1 : 97) {
        cr_assert_eq(ftruncate(fd, cut), 0);
        lseek(fd, 0, SEEK_SET);
        cr_assert_not(read_stream(fd, &records, &err), "cut at %lld", (long long)cut);
        cr_assert_eq(err.code, ERROR_UNREACHABLE, "cut at %lld: %s", (long long)cut, err.text);
    }
}

/* Offset of a header's field in the stream of make_stream. */
enum {
    FIRST_RECORD = 24 + 16,
    AT_OFFSET = 8,
    AT_LENGTH = 16,
    SUSPENDED_RECORD = FIRST_RECORD + 24 + 2 * RAM_PAGE,
    RAM_END_RECORD = SUSPENDED_RECORD + 2 * 24,
    DEVICES_RECORD = RAM_END_RECORD + 24,
};

static void expect_refusal(off_t at, uint64_t value, size_t size, const char *text)
{
    struct error err;
    int records;
    auto_close int fd = make_stream();
    cr_assert_eq(pwrite(fd, &value, size, at), (ssize_t)size);
    cr_assert_not(read_stream(fd, &records, &err), "%s", text);
    cr_assert_eq(err.code, ERROR_INVALID, "%s", err.text);
    cr_assert(strstr(err.text, text), "%s", err.text);
}

Test(ram_stream, what_breaks_the_rules_is_refused)
{
    expect_refusal(AT_OFFSET, 2, 8, "does not begin with version 1");
    expect_refusal(24, 0, 8, "expected 8388608");
    expect_refusal(32, 4096, 8, "of 4096 bytes of RAM, expected 8388608");
    expect_refusal(FIRST_RECORD, 99, 4, "no record of kind 99");
    expect_refusal(FIRST_RECORD + 4, 1, 4, "no record of kind");
    expect_refusal(FIRST_RECORD, RAM_HELLO, 4, "record 1 after record 1");
    expect_refusal(FIRST_RECORD, RAM_DEVICES, 4, "record 6 after record 1");
    expect_refusal(FIRST_RECORD + AT_OFFSET, RAM_PAGE + 1, 8, "not inside the RAM");
    expect_refusal(FIRST_RECORD + AT_OFFSET, RAM_BYTES - RAM_PAGE, 8, "not inside the RAM");
    expect_refusal(FIRST_RECORD + AT_OFFSET, UINT64_MAX - RAM_PAGE + 1, 8, "not inside the RAM");
    expect_refusal(FIRST_RECORD + AT_LENGTH, 0, 8, "not inside the RAM");
    expect_refusal(FIRST_RECORD + AT_LENGTH, RAM_PIECE + RAM_PAGE, 8, "not inside the RAM");
    expect_refusal(SUSPENDED_RECORD, RAM_RAM_END, 4, "record 5 after record 1");
    expect_refusal(RAM_END_RECORD + AT_OFFSET, 3, 8, "pages are missing");
    expect_refusal(RAM_END_RECORD + AT_LENGTH, RAM_PAGE, 8, "pages are missing");
    expect_refusal(DEVICES_RECORD + AT_LENGTH, UINT64_MAX, 8, "expected 1 to 67108864");
}

static bool always(void *context)
{
    (void)context;
    return true;
}

Test(ram_stream, a_full_pipe_can_be_cancelled, .timeout = 20)
{
    struct error err;
    struct ram_writer writer;
    static char piece[RAM_PIECE];
    int ends[2];
    cr_assert_eq(pipe(ends), 0);
    cr_assert(ram_writer_init(&writer, ends[1], &err));
    writer.is_cancelled = always;
    cr_assert_not(ram_write_pages(&writer, 0, piece, sizeof piece, &err));
    cr_assert_eq(err.code, ERROR_CANCELLED);
    ram_writer_done(&writer);
    cr_assert_eq(fcntl(ends[1], F_GETFL) & O_NONBLOCK, 0, "the descriptor is as it was");
    signal(SIGPIPE, SIG_IGN);
    close(ends[0]);
    cr_assert(ram_writer_init(&writer, ends[1], &err));
    cr_assert_not(ram_write_pages(&writer, 0, piece, sizeof piece, &err));
    cr_assert_eq(err.code, ERROR_UNREACHABLE);
    ram_writer_done(&writer);
}

/* The destination of the passes: applies what comes until the pipe ends. */
struct sink {
    int pipe_fd, ram_fd;
    struct error error;
    bool is_good;
};

static void *apply_all(void *context)
{
    struct sink *sink = context;
    struct ram_reader reader;
    struct ram_record record;
    static const char zeroes[RAM_PIECE];
    sink->is_good = ram_reader_init(&reader, sink->pipe_fd, RAM_BYTES, &sink->error);
    while (sink->is_good && ram_read(&reader, &record, &sink->error)) {
        const void *data = record.kind == RAM_PAGES ? record.data : zeroes;
        if (pwrite(sink->ram_fd, data, record.length, (off_t)record.offset) !=
            (ssize_t)record.length)
            sink->is_good = false;
    }
    ram_reader_done(&reader);
    return NULL;
}

static uint64_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 33;
}

/* Some pages get new content, some the same content, some become zero. */
static void scribble(char *ram, uint64_t *state)
{
    for (int i = 0; i < 300; i++) {
        char *page = ram + next_random(state) % (RAM_BYTES / RAM_PAGE) * RAM_PAGE;
        switch (next_random(state) % 4) {
        case 0:
            memset(page, 0, RAM_PAGE);
            break;
        case 1:
            page[next_random(state) % RAM_PAGE] ^= 1;
            break;
        default:
            memset(page, (int)next_random(state), RAM_PAGE);
        }
    }
}

static void check_passes(int threads)
{
    struct error err;
    int ends[2];
    auto_close int source = make_file(RAM_BYTES);
    auto_close int destination = make_file(RAM_BYTES);
    char *ram = mmap(NULL, RAM_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, source, 0);
    char *copy = mmap(NULL, RAM_BYTES, PROT_READ, MAP_SHARED, destination, 0);
    cr_assert_neq(ram, MAP_FAILED);
    cr_assert_neq(copy, MAP_FAILED);
    cr_assert_eq(pipe(ends), 0);
    struct sink sink = {.pipe_fd = ends[0], .ram_fd = destination};
    pthread_t thread;
    pthread_create(&thread, NULL, apply_all, &sink);
    struct ram_scan *scan;
    struct ram_writer writer;
    cr_assert(ram_writer_init(&writer, ends[1], &err));
    cr_assert(ram_write_hello(&writer, RAM_BYTES, &err));
    cr_assert(ram_scan_open(&scan, source, RAM_BYTES, &err));
    uint64_t changed, state = (uint64_t)threads;
    for (int pass = 0; pass < 20; pass++) {
        scribble(ram, &state);
        cr_assert(ram_scan_pass(scan, &writer, threads, NULL, NULL, &changed, &err), "%s",
                  err.text);
        cr_assert_gt(changed, 0);
        cr_assert_leq(changed, 300 * RAM_PAGE);
    }
    cr_assert(ram_scan_pass(scan, &writer, threads, NULL, NULL, &changed, &err));
    cr_assert_eq(changed, 0, "what has not changed is not sent again");
    ram_scan_close(scan);
    ram_writer_done(&writer);
    close(ends[1]);
    pthread_join(thread, NULL);
    close(ends[0]);
    cr_assert(sink.is_good, "%s", sink.error.text);
    cr_assert_eq(memcmp(ram, copy, RAM_BYTES), 0);
    munmap(ram, RAM_BYTES);
    munmap(copy, RAM_BYTES);
}

Test(ram_scan, passes_make_the_destination_equal, .timeout = 60)
{
    check_passes(1);
    check_passes(4);
}

Test(ram_scan, untouched_memory_is_neither_sent_nor_allocated, .timeout = 60)
{
    struct error err;
    struct ram_scan *scan;
    struct ram_writer writer;
    uint64_t changed;
    auto_close int ram = make_file((off_t)1 << 30);
    auto_close int stream = make_file(0);
    cr_assert(ram_writer_init(&writer, stream, &err));
    cr_assert(ram_scan_open(&scan, ram, UINT64_C(1) << 30, &err));
    cr_assert(ram_scan_pass(scan, &writer, 2, NULL, NULL, &changed, &err));
    cr_assert_eq(changed, 0);
    cr_assert_eq(writer.sent_bytes, 0);
    cr_assert_lt(lseek(ram, 0, SEEK_DATA), 0, "the file still is one hole");
    ram_scan_close(scan);
    ram_writer_done(&writer);
}

Test(ram_scan, a_file_that_is_too_short_fails_the_pass)
{
    struct error err;
    struct ram_scan *scan;
    struct ram_writer writer;
    uint64_t changed;
    auto_close int ram = make_file(0);
    auto_close int stream = make_file(0);
    cr_assert_eq(write(ram, "x", 1), 1);
    cr_assert(ram_writer_init(&writer, stream, &err));
    cr_assert(ram_scan_open(&scan, ram, RAM_BYTES, &err));
    cr_assert_not(ram_scan_pass(scan, &writer, 3, NULL, NULL, &changed, &err));
    cr_assert_str_eq(err.text, "guest memory: the file is too short");
    ram_scan_close(scan);
    ram_writer_done(&writer);
}
