/* One transfer: its life, its run, its drain. */
#include "agent/mirror/transfer.h"

#include "agent/mirror/disk_copy.h"
#include "agent/mirror/disk_mirror.h"
#include "agent/mirror/disk_run.h"
#include "agent/mirror/guest_run.h"
#include "agent/mirror/transfer_state.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"

#include <string.h>
#include <time.h>

/* --- what the parts share --- */

bool transfer_goes_on(struct transfer *transfer, struct error *err)
{
    if (atomic_load(&transfer->is_cancelled))
        return error_set(err, ERROR_CANCELLED, "the transfer was cancelled");
    pthread_mutex_lock(&transfer->lock);
    bool is_over = transfer->is_over;
    pthread_mutex_unlock(&transfer->lock);
    return !is_over || error_set(err, ERROR_CANCELLED, "the transfer is over");
}

static void deadline_after(int ms, struct timespec *out)
{
    clock_gettime(CLOCK_MONOTONIC, out);
    int64_t nanoseconds = out->tv_nsec + (int64_t)(ms % 1000) * 1000000;
    out->tv_sec += ms / 1000 + (time_t)(nanoseconds / 1000000000);
    out->tv_nsec = (long)(nanoseconds % 1000000000);
}

void transfer_pause(struct transfer *transfer, int ms)
{
    struct timespec deadline;
    int failed = 0;
    deadline_after(ms, &deadline);
    pthread_mutex_lock(&transfer->lock);
    while (!failed && !transfer->is_over && !atomic_load(&transfer->is_cancelled))
        failed = pthread_cond_timedwait(&transfer->has_changed, &transfer->lock, &deadline);
    pthread_mutex_unlock(&transfer->lock);
}

struct monitor *transfer_monitor(struct transfer *transfer, const char *path)
{
    struct monitor *monitor = NULL;
    pthread_mutex_lock(&transfer->lock);
    for (size_t i = 0; !monitor && i < transfer->monitor_count; i++) {
        if (strcmp(monitor_path(transfer->monitors[i]), path) == 0)
            monitor = transfer->monitors[i];
    }
    if (!monitor) {
        /* A domain's monitor keeps its path over restarts: as many as disks at the most. */
        if (transfer->monitor_count == LIMIT_DISKS)
            abort();
        monitor = monitor_new(path);
        transfer->monitors[transfer->monitor_count++] = monitor;
    }
    pthread_mutex_unlock(&transfer->lock);
    return monitor;
}

bool transfer_ledger_add(struct transfer *transfer, const char *kind, const char *reference,
                         struct error *err)
{
    return journal_ledger_add(transfer->environment.journal, transfer->spec.migration, kind,
                              reference, err);
}

bool transfer_ledger_remove(struct transfer *transfer, const char *kind, const char *reference,
                            struct error *err)
{
    return journal_ledger_remove(transfer->environment.journal, transfer->spec.migration, kind,
                                 reference, err);
}

/* --- life --- */

static bool copy_spec(struct migration_spec *out, const struct migration_spec *spec,
                      struct error *err)
{
    json_auto_t *text = json_encode(migration_spec_fields, spec);
    return json_decode(text, migration_spec_fields, out, err);
}

static void init_disk(struct transfer *transfer, int i)
{
    struct disk *disk = &transfer->disks[i];
    const char *run = transfer->environment.run_directory;
    disk->transfer = transfer;
    disk->index = i;
    disk->spec = spec_disk_at(&transfer->spec, (size_t)i);
    mirror_names_derive(&disk->names, transfer->spec.migration, i);
    /* The target's name is short and tells the migration and the disk: good for sockets too, whose
     * paths are limited to 107 bytes. */
    const char *name = disk->names.target;
    disk->mirror_socket = memory_format("%s/%sm.sock", run, name);
    disk->bitmap_socket = memory_format("%s/%sb.sock", run, name);
    disk->reader_socket = memory_format("%s/%sr.sock", run, name);
    disk->reader_log = memory_format("%s/%sr.log", run, name);
    disk->map_path = memory_format("%s/chunks/%s.%d", transfer->environment.state_directory,
                                   transfer->spec.migration, i);
}

static void done_disk(struct disk *disk)
{
    disk_mirror_close_streams(disk);
    chunk_map_close(disk->map);
    free(disk->mirror_socket);
    free(disk->bitmap_socket);
    free(disk->reader_socket);
    free(disk->reader_log);
    free(disk->map_path);
}

static void init_locks(struct transfer *transfer)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&transfer->has_changed, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&transfer->lock, NULL);
    pthread_mutex_init(&transfer->stop_lock, NULL);
    pthread_mutex_init(&transfer->bitmap_lock, NULL);
}

static void init_strings(struct transfer *transfer, const struct transfer_environment *environment)
{
    transfer->environment = *environment;
    transfer->environment.run_directory = memory_copy_text(environment->run_directory);
    transfer->environment.state_directory = memory_copy_text(environment->state_directory);
    transfer->guest = (struct guest){.driver = environment->driver,
                                     .hypervisor = environment->hypervisor,
                                     .journal = environment->journal,
                                     .migration = transfer->spec.migration,
                                     .domain = transfer->spec.domain};
}

static bool check_paths(const struct transfer *transfer, struct error *err)
{
    enum { SOCKET_PATH_LIMIT = 107 };
    for (size_t i = 0; i < transfer->disk_count; i++) {
        if (strlen(transfer->disks[i].mirror_socket) > SOCKET_PATH_LIMIT)
            return error_set(err, ERROR_INVALID,
                             "run directory %s: its socket paths would be longer than %d bytes",
                             transfer->environment.run_directory, SOCKET_PATH_LIMIT);
    }
    return true;
}

bool transfer_open(struct transfer **out, const struct transfer_environment *environment,
                   const struct migration_spec *spec, struct error *err)
{
    struct transfer *transfer = memory_alloc(sizeof *transfer);
    if (!copy_spec(&transfer->spec, spec, err)) {
        free(transfer);
        return error_prefix(err, "specification of the migration");
    }
    init_locks(transfer);
    init_strings(transfer, environment);
    transfer->phase = PHASE_WAITING;
    transfer->settings.bandwidth_bytes_per_s = transfer->spec.bandwidth_bytes_per_s;
    transfer->disk_count = transfer->spec.disks.count;
    transfer->disks = memory_array(transfer->disk_count, sizeof *transfer->disks);
    for (size_t i = 0; i < transfer->disk_count; i++)
        init_disk(transfer, (int)i);
    if (!check_paths(transfer, err)) {
        transfer_close(transfer);
        return false;
    }
    *out = transfer;
    return true;
}

void transfer_close(struct transfer *transfer)
{
    if (!transfer)
        return;
    for (size_t i = 0; i < transfer->disk_count; i++)
        done_disk(&transfer->disks[i]);
    for (size_t i = 0; i < transfer->monitor_count; i++)
        monitor_free(transfer->monitors[i]);
    pthread_mutex_destroy(&transfer->lock);
    pthread_mutex_destroy(&transfer->stop_lock);
    pthread_mutex_destroy(&transfer->bitmap_lock);
    pthread_cond_destroy(&transfer->has_changed);
    json_release(migration_spec_fields, &transfer->spec);
    free((char *)transfer->environment.run_directory);
    free((char *)transfer->environment.state_directory);
    free(transfer->disks);
    free(transfer);
}

/* --- run --- */

static bool open_maps(struct transfer *transfer, struct error *err)
{
    auto_free char *folder = memory_format("%s/chunks", transfer->environment.state_directory);
    if (!file_make_directory(folder, 0700, err) ||
        !file_make_directory(transfer->environment.run_directory, 0700, err))
        return false;
    for (size_t i = 0; i < transfer->disk_count; i++) {
        struct disk *disk = &transfer->disks[i];
        if (disk->map)
            continue;
        if (!transfer_ledger_add(transfer, "chunk-map", disk->map_path, err) ||
            !chunk_map_open(&disk->map, disk->map_path, disk->spec->destination.vdi,
                            disk->spec->size_bytes, COPY_CHUNK_BYTES, err))
            return false;
        pthread_mutex_lock(&transfer->lock);
        disk->copied_base_bytes = chunk_map_done_bytes(disk->map);
        pthread_mutex_unlock(&transfer->lock);
    }
    return true;
}

/* With the lock held. */
static bool is_complete(const struct transfer *transfer)
{
    for (size_t i = 0; i < transfer->disk_count; i++) {
        if (!transfer->disks[i].is_mirrored || !transfer->disks[i].is_copied)
            return false;
    }
    return true;
}

static void end_threads(struct transfer *transfer)
{
    pthread_mutex_lock(&transfer->lock);
    transfer->is_over = true;
    pthread_cond_broadcast(&transfer->has_changed);
    pthread_mutex_unlock(&transfer->lock);
    for (size_t i = 0; i < transfer->disk_count; i++) {
        if (transfer->disks[i].has_thread)
            pthread_join(transfer->disks[i].thread, NULL);
        transfer->disks[i].has_thread = false;
    }
}

static void start_threads(struct transfer *transfer)
{
    pthread_mutex_lock(&transfer->lock);
    transfer->is_over = false;
    transfer->has_failed = false;
    transfer->phase = PHASE_COPYING;
    pthread_mutex_unlock(&transfer->lock);
    for (size_t i = 0; i < transfer->disk_count; i++) {
        struct disk *disk = &transfer->disks[i];
        disk->has_copy_turn = false;
        if (pthread_create(&disk->thread, NULL, disk_run, disk) != 0)
            abort();
        disk->has_thread = true;
    }
}

/* The disks' threads see a guest that ended as one thing or another, and some only late. A driver
 * that cannot answer just now is asked again. */
static bool has_guest_ended(const struct transfer *transfer, struct error *err)
{
    struct error why;
    if (guest_run_check(&transfer->guest, &why) || why.code != ERROR_GUEST_ENDED)
        return false;
    *err = why;
    return true;
}

/* Until all disks are mirrored and copied and nothing holds the switch-over, one of them has
 * failed, the guest has ended, or somebody cancelled. */
static bool wait_until_complete(struct transfer *transfer, struct error *err)
{
    enum { LOOK_MS = 100, GUEST_LOOK_MS = 500 };
    for (int64_t looked_ms = 0;;) {
        pthread_mutex_lock(&transfer->lock);
        bool is_done = is_complete(transfer), has_failed = transfer->has_failed;
        transfer->phase = is_done ? PHASE_MIRRORED : PHASE_COPYING;
        is_done = is_done && !transfer->settings.is_switchover_held;
        if (has_failed)
            *err = transfer->failure;
        pthread_mutex_unlock(&transfer->lock);
        if (has_failed || !transfer_goes_on(transfer, err))
            return false;
        if (is_done)
            return true;
        if (clock_monotonic_ms() - looked_ms >= GUEST_LOOK_MS) {
            looked_ms = clock_monotonic_ms();
            if (has_guest_ended(transfer, err))
                return false;
        }
        transfer_pause(transfer, LOOK_MS);
    }
}

bool transfer_run(struct transfer *transfer, struct error *err)
{
    if (!guest_run_pin(&transfer->guest, err) || !open_maps(transfer, err))
        return false;
    for (;;) {
        struct error lost;
        start_threads(transfer);
        bool is_complete_now = wait_until_complete(transfer, err);
        end_threads(transfer);
        if (!is_complete_now && err->code != ERROR_CANCELLED)
            guest_run_explain(&transfer->guest, err);
        if (!is_complete_now)
            return false;
        if (transfer_is_mirrored(transfer, &lost))
            break;
        log_warning("%s", lost.text);
    }
    pthread_mutex_lock(&transfer->lock);
    transfer->phase = PHASE_MIRRORED;
    pthread_mutex_unlock(&transfer->lock);
    return true;
}

void transfer_cancel(struct transfer *transfer)
{
    atomic_store(&transfer->is_cancelled, true);
    pthread_mutex_lock(&transfer->lock);
    for (size_t i = 0; i < transfer->disk_count; i++) {
        if (transfer->disks[i].copier)
            copier_cancel(transfer->disks[i].copier);
    }
    pthread_cond_broadcast(&transfer->has_changed);
    pthread_mutex_unlock(&transfer->lock);
}

void transfer_set(struct transfer *transfer, const struct transfer_settings *settings)
{
    pthread_mutex_lock(&transfer->lock);
    if (settings->version > transfer->settings.version)
        transfer->settings = *settings;
    pthread_cond_broadcast(&transfer->has_changed);
    pthread_mutex_unlock(&transfer->lock);
}

bool transfer_is_mirrored(struct transfer *transfer, struct error *err)
{
    for (size_t i = 0; i < transfer->disk_count; i++) {
        struct disk *disk = &transfer->disks[i];
        if (disk->is_copied && disk_mirror_check(disk, err))
            continue;
        if (!disk->is_copied)
            error_set(err, ERROR_MIRROR_LOST, "not copied");
        err->code = ERROR_MIRROR_LOST;
        return error_prefix(err, "disk %s", disk->spec->device);
    }
    return true;
}
