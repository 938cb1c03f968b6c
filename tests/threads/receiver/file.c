/* A guest writes a disk while its mirror and several copiers bring it to an image file, on a real
 * file system: small mirrored writes through the page cache, large copies past it, flushes, and a
 * reader that keeps the cache full of pages. At the end the file is what the guest wrote, through
 * the page cache and on the disk. */
#include "agent/receiver/plugin/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    SECTOR = 512,
    DISK_BYTES = 16 << 20,
    COPY_BYTES = 256 << 10,
    STRIPE_BYTES = 64 << 10, /* under one lock of the guest's block layer */
    STRIPES = DISK_BYTES / STRIPE_BYTES,
    MOST_SECTORS = 24, /* of a guest write */
    GUESTS = 2,
    COPIERS = 3,
    ROUNDS = 6,
};

struct run {
    struct disk *disk;
    const char *path;
    unsigned char *source;
    pthread_mutex_t stripes[STRIPES]; /* also lets a copier read whole sectors */
    atomic_uint next_copy, seed;
    atomic_int copiers_left;
    atomic_bool has_failed;
};

static unsigned random_below(unsigned *state, unsigned limit)
{
    *state = *state * 1664525 + 1013904223;
    return (*state >> 8) % limit;
}

static void expect(struct run *run, int failed, const char *what)
{
    if (failed && !atomic_exchange(&run->has_failed, true))
        fprintf(stderr, "%s: %s\n", what, strerror(failed));
}

/* First the source, then the mirror, as QEMU does. */
static void guest_write(struct run *run, const struct disk_client *mirror, unsigned *state)
{
    size_t stripe = random_below(state, STRIPES);
    size_t first = random_below(state, STRIPE_BYTES / SECTOR);
    size_t size = (1 + random_below(state, MOST_SECTORS)) * (size_t)SECTOR;
    size_t room = STRIPE_BYTES - first * SECTOR, offset = stripe * STRIPE_BYTES + first * SECTOR;
    if (size > room)
        size = room;
    pthread_mutex_lock(&run->stripes[stripe]);
    memset(run->source + offset, (int)random_below(state, 256), size);
    expect(run, disk_write(run->disk, mirror, run->source + offset, size, offset, false), "mirror");
    pthread_mutex_unlock(&run->stripes[stripe]);
}

static void *guest(void *context)
{
    struct run *run = context;
    struct disk_client mirror = {DISK_MIRROR, 1};
    unsigned state = atomic_fetch_add(&run->seed, 1) * 7919;
    while (atomic_load(&run->copiers_left))
        guest_write(run, &mirror, &state);
    return NULL;
}

static void copy(struct run *run, const struct disk_client *client, size_t offset, char *stale)
{
    for (size_t done = 0; done < COPY_BYTES; done += STRIPE_BYTES) {
        pthread_mutex_t *stripe = &run->stripes[(offset + done) / STRIPE_BYTES];
        pthread_mutex_lock(stripe);
        memcpy(stale + done, run->source + offset + done, STRIPE_BYTES);
        pthread_mutex_unlock(stripe);
    }
    usleep(500); /* the guest makes it stale */
    expect(run, disk_write(run->disk, client, stale, COPY_BYTES, offset, false), "copy");
    expect(run, disk_flush(run->disk, client), "flush");
}

static void *copier(void *context)
{
    struct run *run = context;
    struct disk_client client = {DISK_COPY, 1};
    char *stale = malloc(COPY_BYTES);
    for (;;) {
        size_t offset = atomic_fetch_add(&run->next_copy, 1) * (size_t)COPY_BYTES;
        if (offset >= DISK_BYTES)
            break;
        copy(run, &client, offset, stale);
    }
    free(stale);
    atomic_fetch_sub(&run->copiers_left, 1);
    return NULL;
}

static void *reader(void *context)
{
    struct run *run = context;
    unsigned state = atomic_fetch_add(&run->seed, 1) * 104729;
    char *data = malloc(STRIPE_BYTES);
    int fd = open(run->path, O_RDONLY | O_CLOEXEC);
    while (atomic_load(&run->copiers_left)) {
        off_t offset = (off_t)random_below(&state, STRIPES) * STRIPE_BYTES;
        if (pread(fd, data, STRIPE_BYTES, offset) != STRIPE_BYTES)
            expect(run, EIO, "reader");
    }
    close(fd);
    free(data);
    return NULL;
}

static bool is_identical(const struct run *run, const char *how)
{
    char *data = malloc(DISK_BYTES);
    int fd = open(run->path, O_RDONLY | O_CLOEXEC);
    bool is_read = pread(fd, data, DISK_BYTES, 0) == DISK_BYTES;
    size_t at = 0;
    while (is_read && at < DISK_BYTES && memcmp(data + at, run->source + at, SECTOR) == 0)
        at += SECTOR;
    close(fd);
    free(data);
    if (!is_read || at < DISK_BYTES)
        fprintf(stderr, "%s: differs at %zu\n", how, at);
    return is_read && at == DISK_BYTES;
}

/* What the page cache holds besides must be the same as what is on the disk. */
static void drop_cache(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    fdatasync(fd);
    posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    close(fd);
}

static bool open_all(struct run *run)
{
    struct error err;
    struct backend *backend;
    struct disk_client client;
    if (backend_open_file(&backend, run->path, 0, &err) &&
        disk_open(&run->disk, backend, 1, &err) && disk_start_flusher(run->disk, &err) &&
        disk_attach(run->disk, "mirror.1", &client, &err) &&
        disk_attach(run->disk, "copy.1", &client, &err))
        return true;
    fprintf(stderr, "%s\n", err.text);
    return false;
}

static bool migrate(const char *path, unsigned seed)
{
    static struct run run;
    pthread_t threads[GUESTS + COPIERS + 1];
    memset(&run, 0, sizeof run);
    run.path = path;
    run.source = malloc(DISK_BYTES);
    for (size_t i = 0; i < DISK_BYTES; i++)
        run.source[i] = (unsigned char)(i / SECTOR * 31 + seed);
    if (truncate(path, 0) < 0 || truncate(path, DISK_BYTES) < 0 || !open_all(&run))
        return false;
    for (int i = 0; i < STRIPES; i++)
        pthread_mutex_init(&run.stripes[i], NULL);
    atomic_store(&run.seed, seed * 1000003 + 1);
    atomic_store(&run.copiers_left, COPIERS);
    for (int i = 0; i < GUESTS + COPIERS + 1; i++)
        pthread_create(&threads[i], NULL,
                       i < GUESTS             ? guest
                       : i < GUESTS + COPIERS ? copier
                                              : reader,
                       &run);
    for (int i = 0; i < GUESTS + COPIERS + 1; i++)
        pthread_join(threads[i], NULL);
    disk_close(run.disk);
    bool is_fine = !atomic_load(&run.has_failed) && is_identical(&run, "page cache");
    drop_cache(path);
    is_fine = is_fine && is_identical(&run, "disk");
    for (int i = 0; i < STRIPES; i++)
        pthread_mutex_destroy(&run.stripes[i]);
    free(run.source);
    return is_fine;
}

int main(void)
{
    char path[] = "/var/tmp/crosspool-file-XXXXXX"; /* /tmp is often no real file system */
    int fd = mkstemp(path);
    bool is_fine = fd >= 0;
    for (unsigned round = 0; is_fine && round < ROUNDS; round++)
        is_fine = migrate(path, round);
    if (fd >= 0)
        close(fd);
    unlink(path);
    return is_fine ? 0 : 1;
}
