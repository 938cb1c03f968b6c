/* The received disk; see disk.h. */
#include "agent/receiver/plugin/disk.h"

#include "agent/receiver/plugin/breakage.h"
#include "agent/receiver/plugin/epoch.h"
#include "agent/receiver/plugin/mask.h"
#include "base/memory.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct disk {
    struct backend *backend;
    struct mask *mask;
    struct epoch epoch;
    pthread_mutex_t flush_mutex;   /* one flush at a time: only one of them is told of an error */
    atomic_int failure;            /* first failed write or flush of the epoch, an errno value */
    atomic_bool is_dirty;          /* written since the flusher looked */
    pthread_mutex_t flusher_mutex; /* guards the three below */
    pthread_cond_t flusher_stop;
    bool must_stop, is_flushing;
    pthread_t flusher;
};

bool disk_open(struct disk **out, struct backend *backend, int64_t lowest_epoch, struct error *err)
{
    struct mask *mask = NULL;
    if (!mask_open(&mask, backend->size_bytes, err)) {
        backend_close(backend);
        return false;
    }
    struct disk *disk = memory_alloc(sizeof *disk);
    disk->backend = backend;
    disk->mask = mask;
    epoch_init(&disk->epoch, lowest_epoch);
    pthread_mutex_init(&disk->flush_mutex, NULL);
    pthread_mutex_init(&disk->flusher_mutex, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&disk->flusher_stop, &monotonic);
    pthread_condattr_destroy(&monotonic);
    *out = disk;
    return true;
}

void disk_close(struct disk *disk)
{
    if (!disk)
        return;
    disk_stop_flusher(disk);
    backend_close(disk->backend);
    mask_free(disk->mask);
    epoch_done(&disk->epoch);
    pthread_cond_destroy(&disk->flusher_stop);
    pthread_mutex_destroy(&disk->flusher_mutex);
    pthread_mutex_destroy(&disk->flush_mutex);
    free(disk);
}

uint64_t disk_size(const struct disk *disk)
{
    return disk->backend->size_bytes;
}

static int remember(struct disk *disk, int failed)
{
    int none = 0;
    if (failed)
        atomic_compare_exchange_strong(&disk->failure, &none, failed);
    return failed;
}

static int flush(struct disk *disk)
{
    pthread_mutex_lock(&disk->flush_mutex);
    int failed = remember(disk, backend_flush(disk->backend));
    if (!failed)
        failed = atomic_load(&disk->failure);
    pthread_mutex_unlock(&disk->flush_mutex);
    return failed;
}

static void *flusher_run(void *context)
{
    struct disk *disk = context;
    pthread_mutex_lock(&disk->flusher_mutex);
    while (!disk->must_stop) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec++;
        pthread_cond_timedwait(&disk->flusher_stop, &disk->flusher_mutex, &until);
        if (disk->must_stop || !atomic_exchange(&disk->is_dirty, false))
            continue;
        pthread_mutex_unlock(&disk->flusher_mutex);
        (void)flush(disk); /* remembered */
        pthread_mutex_lock(&disk->flusher_mutex);
    }
    pthread_mutex_unlock(&disk->flusher_mutex);
    return NULL;
}

bool disk_start_flusher(struct disk *disk, struct error *err)
{
    disk->must_stop = false;
    int failed = pthread_create(&disk->flusher, NULL, flusher_run, disk);
    if (failed)
        return error_set_errno(err, ERROR_INTERNAL, failed, "cannot start the flusher");
    disk->is_flushing = true;
    return true;
}

void disk_stop_flusher(struct disk *disk)
{
    if (!disk->is_flushing)
        return;
    pthread_mutex_lock(&disk->flusher_mutex);
    disk->must_stop = true;
    pthread_cond_signal(&disk->flusher_stop);
    pthread_mutex_unlock(&disk->flusher_mutex);
    pthread_join(disk->flusher, NULL);
    disk->is_flushing = false;
}

/* "mirror.7": decimal, at least 1, no sign, no leading zero. */
static bool parse_name(const char *name, struct disk_client *out)
{
    static const char *const prefixes[] = {[DISK_MIRROR] = "mirror.", [DISK_COPY] = "copy."};
    for (int role = DISK_MIRROR; role <= DISK_COPY; role++) {
        size_t length = strlen(prefixes[role]);
        if (strncmp(name, prefixes[role], length) != 0)
            continue;
        const char *digits = name + length;
        if (*digits < '1' || *digits > '9' || strspn(digits, "0123456789") != strlen(digits))
            return false;
        errno = 0;
        int64_t epoch = strtoll(digits, NULL, 10);
        if (errno)
            return false;
        *out = (struct disk_client){(enum disk_role)role, epoch};
        return true;
    }
    return false;
}

static void begin_epoch(void *context)
{
    struct disk *disk = context;
    mask_clear(disk->mask);
    atomic_store(&disk->failure, 0);
}

bool disk_attach(struct disk *disk, const char *export_name, struct disk_client *out,
                 struct error *err)
{
    struct disk_client client;
    if (!parse_name(export_name, &client))
        return error_set(err, ERROR_NOT_FOUND,
                         "export \"%.64s\": expected mirror.N or copy.N with N of 1 or more",
                         export_name);
    bool is_admitted = client.role == DISK_MIRROR
                           ? epoch_admit_mirror(&disk->epoch, client.epoch, begin_epoch, disk, err)
                           : epoch_admit_copy(&disk->epoch, client.epoch, err);
    if (is_admitted)
        *out = client;
    return is_admitted;
}

/* Admits one request; 0 means that epoch_leave must follow. */
static int enter(struct disk *disk, const struct disk_client *client, uint64_t size,
                 uint64_t offset)
{
    if (offset % MASK_SECTOR_BYTES || size % MASK_SECTOR_BYTES || offset > disk_size(disk) ||
        size > disk_size(disk) - offset)
        return EINVAL;
    return epoch_enter(&disk->epoch, client->epoch) ? 0 : ESHUTDOWN;
}

static int put_mirror(struct disk *disk, const char *data, uint64_t size, uint64_t offset,
                      bool may_trim)
{
    mask_mirror(disk->mask, offset, size);
    breakage_delay_mirror();
    if (data)
        return backend_write(disk->backend, data, (size_t)size, offset);
    return backend_zero(disk->backend, size, offset, may_trim);
}

/* A run of sectors that a mirror write waits for. The page of a marked sector is in no run as a
 * whole, so this is alone on the whole pages of its run. */
static int put_run(struct disk *disk, const char *data, const struct mask_copy *copy, bool may_trim)
{
    if (data)
        return backend_write_alone(disk->backend, data, (size_t)copy->run_size, copy->run_offset);
    return backend_zero(disk->backend, copy->run_size, copy->run_offset, may_trim);
}

static int put_copy(struct disk *disk, const char *data, uint64_t size, uint64_t offset,
                    bool may_trim)
{
    struct mask_copy copy;
    int failed = 0;
    mask_copy_begin(&copy, offset, size);
    while (!failed && mask_copy_next(disk->mask, &copy)) {
        const char *run = data ? data + (copy.run_offset - offset) : NULL;
        breakage_delay_copy();
        failed = put_run(disk, run, &copy, may_trim);
    }
    mask_copy_end(disk->mask, &copy);
    return failed;
}

static int change(struct disk *disk, const struct disk_client *client, const void *data,
                  uint64_t size, uint64_t offset, bool may_trim, bool is_fua)
{
    int failed = enter(disk, client, size, offset);
    if (failed)
        return failed;
    if (client->role == DISK_MIRROR)
        failed = put_mirror(disk, data, size, offset, may_trim);
    else
        failed = put_copy(disk, data, size, offset, may_trim);
    remember(disk, failed);
    atomic_store(&disk->is_dirty, true);
    if (!failed && is_fua)
        failed = flush(disk);
    epoch_leave(&disk->epoch);
    return failed;
}

int disk_read(struct disk *disk, const struct disk_client *client, void *data, size_t size,
              uint64_t offset)
{
    int failed = enter(disk, client, size, offset);
    if (failed)
        return failed;
    failed = backend_read(disk->backend, data, size, offset);
    epoch_leave(&disk->epoch);
    return failed;
}

int disk_write(struct disk *disk, const struct disk_client *client, const void *data, size_t size,
               uint64_t offset, bool is_fua)
{
    return change(disk, client, data, size, offset, false, is_fua);
}

int disk_zero(struct disk *disk, const struct disk_client *client, uint64_t size, uint64_t offset,
              bool may_trim, bool is_fua)
{
    return change(disk, client, NULL, size, offset, may_trim, is_fua);
}

int disk_flush(struct disk *disk, const struct disk_client *client)
{
    int failed = enter(disk, client, 0, 0);
    if (failed)
        return failed;
    failed = flush(disk);
    epoch_leave(&disk->epoch);
    return failed;
}
