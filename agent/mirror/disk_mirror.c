/* Begin and end of a mirror epoch. */
#include "agent/mirror/disk_mirror.h"

#include "agent/mirror/disk_copy.h"
#include "agent/mirror/guest_run.h"
#include "agent/mirror/image_reader.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/failpoint.h"
#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"

#include <string.h>

enum { OWN_END_MS = 200, READY_MS = 3000 };

bool disk_mirror_attach(struct disk *disk, struct error *err)
{
    struct transfer *transfer = disk->transfer;
    const struct transfer_environment *environment = &transfer->environment;
    if (!environment->driver->disk_attach(environment->hypervisor, transfer->spec.domain,
                                          disk->spec->device, &disk->attach, err))
        return error_prefix(err, "disk %s", disk->spec->device);
    if (!guest_run_is_here(&transfer->guest, err)) /* now, so it was when the disk was found */
        return false;
    disk->monitor = transfer_monitor(transfer, disk->attach.qmp_path);
    return true;
}

/* --- before the stop --- */

static bool open_relay(struct disk *disk, int64_t epoch, struct error *err)
{
    struct transfer *transfer = disk->transfer;
    const struct spec_host *peer = &transfer->spec.destination;
    struct link_hello hello = {.channel = LINK_MIRROR, .epoch = epoch, .disk = disk->index};
    memcpy(hello.migration, transfer->spec.migration, sizeof hello.migration);
    struct link_stream *stream = NULL;
    /* The relay must have reached the receiver before QEMU finds the socket: a deaf peer would
     * freeze the guest. */
    if (!link_connect(&stream, peer->id, peer->address, peer->port, transfer->environment.files,
                      &hello, TRANSFER_CONNECT_MS, err))
        return disk_copy_connect_error(err);
    if (!transfer_ledger_add(transfer, "socket", disk->mirror_socket, err) ||
        !file_remove(disk->mirror_socket, err)) {
        link_close(stream);
        return false;
    }
    struct link_relay_options options = {.path = disk->mirror_socket,
                                         .is_listening = true,
                                         .watch_nbd = true,
                                         .stall_limit_ms = transfer->spec.stall_limit_ms};
    struct link_relay *relay = NULL;
    if (!link_relay_start(&relay, stream, &options, err))
        return false;
    pthread_mutex_lock(&transfer->lock);
    disk->mirror_relay = relay;
    pthread_mutex_unlock(&transfer->lock);
    return true;
}

/* Without a bitmap that recorded all the time nothing is known of what was copied: from zero. That
 * is durable before the new bitmap exists, which would look like one that had. */
static bool find_bitmaps(struct disk *disk, struct dirty_bitmap_list *list, struct error *err)
{
    if (!dirty_bitmap_find(disk->monitor, &disk->names, disk->attach.node, list, err))
        return false;
    if (list->is_recording)
        return true;
    chunk_map_clear_range(disk->map, 0, disk->spec->size_bytes);
    if (!chunk_map_save(disk->map, err))
        return false;
    for (size_t i = 0; i < list->count; i++) {
        if (!dirty_bitmap_remove(disk->monitor, disk->attach.node, list->names[i], err))
            return false;
    }
    list->count = 0;
    return true;
}

static char *written_counter(const struct disk *disk)
{
    return memory_format("written/%s/%d", disk->transfer->spec.migration, disk->index);
}

/* Notes durably that from now on the destination may hold data. */
static bool note_written(struct disk *disk, struct error *err)
{
    auto_free char *counter = written_counter(disk);
    struct journal *journal = disk->transfer->environment.journal;
    int64_t count = 0;
    if (!journal_current(journal, counter, &count, err))
        return false;
    disk->is_fresh = count == 0;
    return !disk->is_fresh || journal_next(journal, counter, &count, err);
}

static bool write_ledger(struct disk *disk, const char *bitmap, struct error *err)
{
    struct transfer *transfer = disk->transfer;
    bool has_reader = disk->attach.reader == READER_QEMU_NBD;
    return transfer_ledger_add(transfer, "target-node", disk->names.target, err) &&
           transfer_ledger_add(transfer, "bitmap", bitmap, err) &&
           (!has_reader || transfer_ledger_add(transfer, "reader", disk->reader_socket, err));
}

/* QEMU talks to the receiver within this command: not while another disk's stop waits for the
 * monitor. */
static bool add_target(struct disk *disk, int64_t epoch, struct error *err)
{
    auto_free char *export_name = memory_format("mirror.%lld", (long long)epoch);
    pthread_mutex_lock(&disk->transfer->stop_lock);
    bool is_added =
        mirror_job_add_target(disk->monitor, &disk->names, disk->mirror_socket, export_name, err);
    pthread_mutex_unlock(&disk->transfer->stop_lock);
    return is_added;
}

static bool check_image(struct disk *disk, struct error *err)
{
    if (disk->attach.size_bytes != disk->spec->size_bytes)
        return error_set(err, ERROR_INVALID, "disk %s has %llu bytes, the migration says %llu",
                         disk->spec->device, (unsigned long long)disk->attach.size_bytes,
                         (unsigned long long)disk->spec->size_bytes);
    if (disk->was_checked)
        return true;
    if (!image_reader_check(disk->monitor, &disk->attach, err))
        return error_prefix(err, "disk %s", disk->spec->device);
    disk->was_checked = true;
    return true;
}

/* --- in the stop --- */

static bool start_stopped(struct disk *disk, const char *bitmap,
                          const struct dirty_bitmap_list *older, struct error *err)
{
    if (disk->attach.reader == READER_QEMU_NBD &&
        !image_reader_start(&disk->attach, disk->reader_socket, disk->reader_log, &disk->reader,
                            err))
        return false;
    return dirty_bitmap_switch(disk->monitor, disk->attach.node, older, bitmap, err) &&
           mirror_job_start(disk->monitor, &disk->names, disk->attach.node, err) &&
           mirror_job_wait_ready(disk->monitor, &disk->names, READY_MS, err);
}

void disk_mirror_relay_status(struct disk *disk, struct link_relay_status *out)
{
    *out = (struct link_relay_status){.has_ended = true};
    if (!disk->mirror_relay)
        return;
    link_relay_status(disk->mirror_relay, out);
    if (out->longest_wait_ms > disk->longest_wait_ms)
        disk->longest_wait_ms = out->longest_wait_ms;
    if (out->recent_wait_ms > disk->recent_wait_ms)
        disk->recent_wait_ms = out->recent_wait_ms;
}

static struct link_relay *take_mirror_relay(struct disk *disk)
{
    struct transfer *transfer = disk->transfer;
    pthread_mutex_lock(&transfer->lock);
    struct link_relay_status status;
    disk_mirror_relay_status(disk, &status);
    disk->mirrored_bytes += status.written_bytes;
    struct link_relay *relay = take(disk->mirror_relay);
    disk->is_mirrored = false;
    pthread_mutex_unlock(&transfer->lock);
    return relay;
}

/* Still in the stop: a job that did not get ready must not meet a writing guest. Its socket is
 * closed first, so that nothing waits for a dead peer. */
static void undo_stopped(struct disk *disk)
{
    struct error err;
    link_relay_stop(take_mirror_relay(disk));
    if (!mirror_job_kill(disk->monitor, &disk->names, &err))
        log_error("disk %s: %s", disk->spec->device, err.text);
}

static bool take_snapshot_point(struct disk *disk, const char *bitmap,
                                const struct dirty_bitmap_list *older, struct error *err)
{
    struct transfer *transfer = disk->transfer;
    struct guest_stop stop;
    struct error unrepaired;
    pthread_mutex_lock(&transfer->stop_lock);
    bool has_stopped = guest_stop_begin(&transfer->guest, disk->monitor, &stop, err);
    bool is_started = has_stopped && start_stopped(disk, bitmap, older, err);
    if (has_stopped && !is_started)
        undo_stopped(disk);
    if (has_stopped && !guest_stop_end(&transfer->guest, disk->monitor, &stop, &unrepaired)) {
        if (is_started)
            *err = unrepaired;
        is_started = false;
    }
    int64_t stopped_ms = clock_monotonic_ms() - stop.started_at_ms;
    pthread_mutex_unlock(&transfer->stop_lock);
    if (is_started)
        log_info("disk %s: mirror epoch %lld began, guest stopped for %lld ms", disk->spec->device,
                 (long long)disk->epoch, (long long)stopped_ms);
    return is_started;
}

/* --- after the stop --- */

/* Works the older bitmaps into the map; they go only when that is durable. */
static bool work_in_bitmaps(struct disk *disk, const struct dirty_bitmap_list *older,
                            struct error *err)
{
    struct transfer *transfer = disk->transfer;
    if (older->count == 0)
        return true;
    if (!transfer_ledger_add(transfer, "socket", disk->bitmap_socket, err) ||
        !transfer_ledger_add(transfer, "target-node", disk->names.scratch, err))
        return false;
    uint64_t before = chunk_map_done_bytes(disk->map);
    pthread_mutex_lock(&transfer->bitmap_lock);
    bool is_read = dirty_bitmap_read(disk->monitor, &disk->names, disk->attach.node, older,
                                     disk->spec->size_bytes, disk->bitmap_socket, disk->map, err);
    pthread_mutex_unlock(&transfer->bitmap_lock);
    if (!is_read || !chunk_map_save(disk->map, err))
        return false;
    log_info("disk %s: %llu KiB were written without a mirror or are not flushed",
             disk->spec->device,
             (unsigned long long)(before - chunk_map_done_bytes(disk->map)) >> 10);
    failpoint_pass("transfer.bitmap-read");
    for (size_t i = 0; i < older->count; i++) {
        if (!dirty_bitmap_remove(disk->monitor, disk->attach.node, older->names[i], err) ||
            !transfer_ledger_remove(transfer, "bitmap", older->names[i], err))
            return false;
    }
    return transfer_ledger_remove(transfer, "target-node", disk->names.scratch, err) &&
           transfer_ledger_remove(transfer, "socket", disk->bitmap_socket, err);
}

static void note_started(struct disk *disk)
{
    struct transfer *transfer = disk->transfer;
    uint64_t done = chunk_map_done_bytes(disk->map);
    pthread_mutex_lock(&transfer->lock);
    disk->is_mirrored = true;
    disk->is_copied = false;
    disk->is_stalled = false;
    disk->waits_for[0] = 0;
    if (disk->copied_base_bytes > done)
        disk->resent_bytes += disk->copied_base_bytes - done;
    disk->copied_base_bytes = done;
    pthread_mutex_unlock(&transfer->lock);
}

static bool next_epoch(struct disk *disk, int64_t *epoch, struct error *err)
{
    struct transfer *transfer = disk->transfer;
    auto_free char *counter = memory_format("mirror/%s/%d", transfer->spec.migration, disk->index);
    if (!journal_next(transfer->environment.journal, counter, epoch, err))
        return false;
    pthread_mutex_lock(&transfer->lock);
    disk->epoch = *epoch;
    pthread_mutex_unlock(&transfer->lock);
    return true;
}

bool disk_mirror_start(struct disk *disk, struct error *err)
{
    struct dirty_bitmap_list older;
    char bitmap[DIRTY_BITMAP_NAME_SIZE];
    int64_t epoch;
    if (!disk_mirror_attach(disk, err) || !check_image(disk, err) ||
        !next_epoch(disk, &epoch, err) || !open_relay(disk, epoch, err))
        return false;
    dirty_bitmap_name(&disk->names, epoch, bitmap);
    if (!find_bitmaps(disk, &older, err) || !write_ledger(disk, bitmap, err))
        return false;
    disk->generation = monitor_generation(disk->monitor);
    if (!add_target(disk, epoch, err) || !note_written(disk, err))
        return false;
    (void)monitor_write_failed(disk->monitor, disk->attach.node);
    (void)monitor_write_failed(disk->monitor, disk->names.filter);
    if (!take_snapshot_point(disk, bitmap, &older, err))
        return false;
    failpoint_pass("transfer.mirror-started");
    if (!work_in_bitmaps(disk, &older, err))
        return false;
    note_started(disk);
    return true;
}

/* --- while it runs --- */

static bool check_relay(struct disk *disk, struct error *err)
{
    struct link_relay_status status;
    pthread_mutex_lock(&disk->transfer->lock);
    disk_mirror_relay_status(disk, &status);
    pthread_mutex_unlock(&disk->transfer->lock);
    if (status.has_stalled)
        return error_set(err, ERROR_MIRROR_LOST, "the destination let a write wait for %d ms",
                         disk->transfer->spec.stall_limit_ms);
    if (status.has_ended)
        return error_set(err, ERROR_MIRROR_LOST, "the mirror's connection has ended");
    return true;
}

bool disk_mirror_check(struct disk *disk, struct error *err)
{
    struct mirror_job job;
    if (!disk->is_mirrored || !disk->monitor)
        return error_set(err, ERROR_MIRROR_LOST, "no mirror runs");
    /* The job first: it knows why. */
    if (!mirror_job_query(disk->monitor, &disk->names, &job, err))
        return false;
    if (!job.exists || job.has_concluded)
        return mirror_job_failure(&job, err);
    if (!check_relay(disk, err))
        return false;
    if (monitor_generation(disk->monitor) != disk->generation)
        return error_set(err, ERROR_MIRROR_LOST, "the connection to QEMU was lost meanwhile");
    /* What a failed write left on the source's disk is not known, and was not mirrored. */
    if (monitor_write_failed(disk->monitor, disk->attach.node) ||
        monitor_write_failed(disk->monitor, disk->names.filter))
        return error_set(err, ERROR_MIRROR_LOST, "a write of the guest failed at the source");
    return true;
}

/* --- the end --- */

void disk_mirror_close_streams(struct disk *disk)
{
    link_relay_stop(take_mirror_relay(disk));
    disk_copy_stop(disk);
}

/* A job whose socket is closed fails at the guest's next write; where none comes it is ended under
 * a stop of the guest. */
static bool end_job(struct disk *disk, struct mirror_job *last, struct error *err)
{
    struct transfer *transfer = disk->transfer;
    struct error still_runs;
    if (!mirror_job_query(disk->monitor, &disk->names, last, err))
        return false;
    if (!last->exists)
        return true;
    if (mirror_job_wait_concluded(disk->monitor, &disk->names, OWN_END_MS, last, &still_runs))
        return !last->exists || mirror_job_dismiss(disk->monitor, &disk->names, err);
    struct guest_stop stop;
    struct error unrepaired;
    pthread_mutex_lock(&transfer->stop_lock);
    bool is_ended = guest_stop_begin(&transfer->guest, disk->monitor, &stop, err);
    if (is_ended) {
        is_ended = mirror_job_kill(disk->monitor, &disk->names, err);
        if (!guest_stop_end(&transfer->guest, disk->monitor, &stop, &unrepaired) && is_ended) {
            *err = unrepaired;
            is_ended = false;
        }
    }
    pthread_mutex_unlock(&transfer->stop_lock);
    return is_ended;
}

static bool remove_sockets(struct disk *disk, struct error *err)
{
    struct transfer *transfer = disk->transfer;
    return file_remove(disk->mirror_socket, err) && file_remove(disk->reader_socket, err) &&
           transfer_ledger_remove(transfer, "socket", disk->mirror_socket, err) &&
           transfer_ledger_remove(transfer, "reader", disk->reader_socket, err);
}

bool disk_mirror_end(struct disk *disk, struct mirror_job *last, struct error *err)
{
    *last = (struct mirror_job){0};
    disk_mirror_close_streams(disk);
    return end_job(disk, last, err) && mirror_job_remove_target(disk->monitor, &disk->names, err) &&
           transfer_ledger_remove(disk->transfer, "target-node", disk->names.target, err) &&
           remove_sockets(disk, err);
}
