/* Writer threads: numbered writes of 1 to 41 sectors at 512-byte alignment, each stripe of 41
 * sectors written by one thread only, a quarter of the writes in a hot region; a flush after every
 * 16 operations. */
#include "guest.h"

#include <errno.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { HOT_STRIPES = 64, FLUSH_EVERY = 16 };

static atomic_bool may_run;
static atomic_int busy;
static atomic_int rate, discard_percent;
static atomic_ullong sequence = 1;

struct writer {
    struct disk *disk;
    int index;
    uint64_t random;
    char *buffer;
};

struct range {
    uint64_t first, count;
};

bool writer_begin(void)
{
    atomic_fetch_add(&busy, 1);
    if (atomic_load(&may_run))
        return true;
    atomic_fetch_sub(&busy, 1);
    return false;
}

void writer_end(void)
{
    atomic_fetch_sub(&busy, 1);
}

static struct range pick(struct writer *writer)
{
    uint64_t stripes = writer->disk->sectors / STRIPE_SECTORS;
    uint64_t random = writer->random = mix(writer->random);
    uint64_t stripe = (random & 3) == 0 ? mix(random ^ 7) % HOT_STRIPES : mix(random ^ 9) % stripes;
    uint64_t writers = (uint64_t)options.writers;
    stripe = stripe / writers * writers + (uint64_t)writer->index;
    if (stripe >= stripes)
        stripe = (uint64_t)writer->index % stripes;
    struct range range = {stripe * STRIPE_SECTORS, STRIPE_SECTORS};
    if (random >> 60) { /* most are a part of the stripe */
        uint64_t skipped = (random >> 8) % STRIPE_SECTORS;
        range.first += skipped;
        range.count = 1 + (random >> 16) % (STRIPE_SECTORS - skipped);
    }
    return range;
}

static void expect(const struct disk *disk, struct range range, uint64_t hash)
{
    for (uint64_t i = 0; i < range.count; i++)
        disk->expected[range.first + i] = hash;
}

static int discard_or_zero(struct writer *writer, struct range range)
{
    static const char zeroes[SECTOR];
    bool is_zero = writer->random >> 50 & 1;
    uint64_t bytes[2] = {range.first * SECTOR, range.count * SECTOR};
    int result = ioctl(writer->disk->fd, is_zero ? BLKZEROOUT : BLKDISCARD, bytes);
    if (result == 0)
        expect(writer->disk, range, is_zero ? sector_hash(zeroes) : UNKNOWN);
    return result;
}

static int write_pattern(struct writer *writer, struct range range)
{
    uint64_t number = atomic_fetch_add(&sequence, 1);
    uint64_t hashes[STRIPE_SECTORS];
    for (uint64_t i = 0; i < range.count; i++)
        hashes[i] = sector_fill(writer->buffer + i * SECTOR, writer->disk, range.first + i, number);
    ssize_t size = (ssize_t)(range.count * SECTOR);
    ssize_t done =
        pwrite(writer->disk->fd, writer->buffer, (size_t)size, (off_t)(range.first * SECTOR));
    for (uint64_t i = 0; i < range.count; i++)
        writer->disk->expected[range.first + i] = hashes[i];
    return done == size ? 0 : -1;
}

static void fail(const struct writer *writer, const char *what)
{
    stats_error();
    console_say("ERROR %s disk=%s: %s", what, writer->disk->name, strerror(errno));
    usleep(200000);
}

static void write_once(struct writer *writer)
{
    struct range range = pick(writer);
    uint64_t begin = now_us();
    bool is_discard = (int)((writer->random >> 40) % 100) < atomic_load(&discard_percent);
    if (is_discard ? discard_or_zero(writer, range) : write_pattern(writer, range))
        fail(writer, is_discard ? "discard" : "write");
    stats_write((int)(writer->disk - disks), begin, now_us(), range.count * SECTOR);
}

static void *run_writer(void *context)
{
    struct writer *writer = context;
    for (unsigned operation = 1;; operation++) {
        while (!writer_begin())
            usleep(1000);
        write_once(writer);
        if (operation % FLUSH_EVERY == 0 && fdatasync(writer->disk->fd))
            fail(writer, "flush");
        writer_end();
        int wanted = atomic_load(&rate);
        if (wanted > 0)
            usleep(1000000u / (unsigned)wanted);
    }
    return NULL;
}

void writer_start_all(void)
{
    atomic_store(&rate, options.rate);
    atomic_store(&discard_percent, options.discards);
    atomic_store(&may_run, !options.is_stopped);
    for (int i = 0; i < disk_count * options.writers; i++) {
        struct writer *writer = calloc(1, sizeof *writer);
        writer->disk = &disks[i / options.writers];
        writer->index = i % options.writers;
        writer->random = mix((uint64_t)i + now_us());
        writer->buffer = aligned_alloc(4096, 24576);
        pthread_t thread;
        pthread_create(&thread, NULL, run_writer, writer);
    }
}

void writer_stop(void)
{
    atomic_store(&may_run, false);
    while (atomic_load(&busy))
        usleep(1000);
    stats_pause();
    for (int i = 0; i < disk_count; i++) {
        if (fsync(disks[i].fd))
            console_say("ERROR flush disk=%s: %s", disks[i].name, strerror(errno));
    }
}

void writer_run(void)
{
    atomic_store(&may_run, true);
}

bool writer_is_running(void)
{
    return atomic_load(&may_run);
}

void writer_set_rate(int writes_per_s)
{
    atomic_store(&rate, writes_per_s);
}

void writer_set_discards(int percent)
{
    atomic_store(&discard_percent, percent);
}
