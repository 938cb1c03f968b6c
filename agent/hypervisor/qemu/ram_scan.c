/* Passes over the RAM file; see ram_scan.h. */
#include "agent/hypervisor/qemu/ram_scan.h"

#include "base/cleanup.h"
#include "base/memory.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/random.h>
#include <sys/types.h>
#include <unistd.h>
#include <xxhash.h>

enum { PIECE_PAGES = RAM_PIECE / RAM_PAGE, THREAD_LIMIT = 8, TICK_PIECES = 16 };

struct ram_scan {
    int fd;
    uint64_t ram_bytes;
    uint64_t seed; /* of the digests: a guest cannot prepare pages that collide */
    XXH128_hash_t zero;
    XXH128_hash_t *sent; /* digest of each page as the destination has it */
};

struct pass {
    struct ram_scan *scan;
    struct ram_writer *writer;
    void (*tick)(void *context);
    void *context;
    atomic_uint_fast64_t next_piece, changed_bytes;
    atomic_bool has_failed;
    pthread_mutex_t lock; /* of error */
    struct error error;
};

bool ram_scan_open(struct ram_scan **out, int fd, uint64_t ram_bytes, struct error *err)
{
    if (!ram_bytes || ram_bytes % RAM_PAGE || ram_bytes > RAM_SIZE_LIMIT)
        return error_set(err, ERROR_INVALID, "RAM is not a number of whole pages");
    uint64_t seed;
    if (getrandom(&seed, sizeof seed, 0) != (ssize_t)sizeof seed)
        return error_set_errno(err, ERROR_INTERNAL, errno, "getrandom");
    static const char zeroes[RAM_PAGE];
    struct ram_scan *scan = memory_alloc(sizeof *scan);
    *scan = (struct ram_scan){.fd = fd, .ram_bytes = ram_bytes, .seed = seed};
    scan->zero = XXH3_128bits_withSeed(zeroes, sizeof zeroes, seed);
    scan->sent = memory_array(ram_bytes / RAM_PAGE, sizeof *scan->sent);
    for (uint64_t page = 0; page < ram_bytes / RAM_PAGE; page++)
        scan->sent[page] = scan->zero;
    *out = scan;
    return true;
}

void ram_scan_close(struct ram_scan *scan)
{
    if (!scan)
        return;
    free(scan->sent);
    free(scan);
}

static bool is_same(XXH128_hash_t a, XXH128_hash_t b)
{
    return a.low64 == b.low64 && a.high64 == b.high64;
}

static bool was_sent_as_zero(const struct ram_scan *scan, uint64_t first, uint64_t pages)
{
    for (uint64_t i = 0; i < pages; i++) {
        if (!is_same(scan->sent[first + i], scan->zero))
            return false;
    }
    return true;
}

/* A hole that was never anything else needs no look at its pages. */
static bool is_untouched(const struct ram_scan *scan, uint64_t offset, uint64_t length)
{
    off_t data = lseek(scan->fd, (off_t)offset, SEEK_DATA);
    bool is_hole = data < 0 ? errno == ENXIO : (uint64_t)data >= offset + length;
    return is_hole && was_sent_as_zero(scan, offset / RAM_PAGE, length / RAM_PAGE);
}

static bool read_piece(const struct ram_scan *scan, uint64_t offset, char *data, uint64_t length,
                       struct error *err)
{
    uint64_t done = 0;
    while (done < length) {
        ssize_t got = pread(scan->fd, data + done, length - done, (off_t)(offset + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return error_set_errno(err, ERROR_INTERNAL, errno, "guest memory");
        if (got == 0)
            return error_set(err, ERROR_INTERNAL, "guest memory: the file is too short");
        done += (uint64_t)got;
    }
    return true;
}

enum change { UNCHANGED, BECAME_ZERO, BECAME_DATA };

static enum change judge_page(struct ram_scan *scan, uint64_t page, const char *data)
{
    XXH128_hash_t digest = XXH3_128bits_withSeed(data, RAM_PAGE, scan->seed);
    if (is_same(digest, scan->sent[page]))
        return UNCHANGED;
    scan->sent[page] = digest;
    return is_same(digest, scan->zero) ? BECAME_ZERO : BECAME_DATA;
}

static bool send_run(struct pass *pass, enum change change, uint64_t offset, const char *data,
                     uint64_t length, struct error *err)
{
    if (change == UNCHANGED)
        return true;
    atomic_fetch_add(&pass->changed_bytes, length);
    return change == BECAME_ZERO ? ram_write_zeroes(pass->writer, offset, length, err)
                                 : ram_write_pages(pass->writer, offset, data, length, err);
}

static bool scan_piece(struct pass *pass, uint64_t piece, char *data, struct error *err)
{
    struct ram_scan *scan = pass->scan;
    uint64_t offset = piece * RAM_PIECE, left = scan->ram_bytes - offset;
    uint64_t length = left < RAM_PIECE ? left : RAM_PIECE;
    if (is_untouched(scan, offset, length))
        return true;
    if (!read_piece(scan, offset, data, length, err))
        return false;
    uint64_t begin = 0; /* of the run of pages that changed alike */
    enum change run = UNCHANGED;
    for (uint64_t at = 0; at < length; at += RAM_PAGE) {
        enum change change = judge_page(scan, (offset + at) / RAM_PAGE, data + at);
        if (change == run)
            continue;
        if (!send_run(pass, run, offset + begin, data + begin, at - begin, err))
            return false;
        begin = at;
        run = change;
    }
    return send_run(pass, run, offset + begin, data + begin, length - begin, err);
}

static void fail_pass(struct pass *pass, const struct error *err)
{
    pthread_mutex_lock(&pass->lock);
    if (!atomic_exchange(&pass->has_failed, true))
        pass->error = *err;
    pthread_mutex_unlock(&pass->lock);
}

static void *run_pass(void *context)
{
    struct pass *pass = context;
    auto_free char *data = memory_alloc(RAM_PIECE);
    uint64_t pieces = (pass->scan->ram_bytes + RAM_PIECE - 1) / RAM_PIECE;
    while (!atomic_load(&pass->has_failed)) {
        uint64_t piece = atomic_fetch_add(&pass->next_piece, 1);
        struct error err;
        if (piece >= pieces)
            break;
        if (!scan_piece(pass, piece, data, &err))
            fail_pass(pass, &err);
        if (pass->tick && piece % TICK_PIECES == 0)
            pass->tick(pass->context);
    }
    return NULL;
}

bool ram_scan_pass(struct ram_scan *scan, struct ram_writer *writer, int threads,
                   void (*tick)(void *context), void *context, uint64_t *changed_bytes,
                   struct error *err)
{
    struct pass pass = {.scan = scan, .writer = writer, .tick = tick, .context = context};
    pthread_mutex_init(&pass.lock, NULL);
    pthread_t helpers[THREAD_LIMIT];
    int started = 0;
    while (started < threads - 1 && started < THREAD_LIMIT &&
           pthread_create(&helpers[started], NULL, run_pass, &pass) == 0)
        started++;
    run_pass(&pass);
    while (started)
        pthread_join(helpers[--started], NULL);
    pthread_mutex_destroy(&pass.lock);
    if (atomic_load(&pass.has_failed)) {
        *err = pass.error;
        return false;
    }
    *changed_bytes = atomic_load(&pass.changed_bytes);
    return true;
}
