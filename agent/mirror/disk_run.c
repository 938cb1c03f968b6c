/* One disk's thread. */
#include "agent/mirror/disk_run.h"

#include "agent/mirror/disk_copy.h"
#include "agent/mirror/disk_mirror.h"
#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "base/memory.h"

#include <string.h>

enum {
    TICK_MS = 50,
    CHECK_MS = 500, /* between looks at the job */
    BACKOFF_FIRST_MS = 200,
    BACKOFF_LAST_MS = 5000,
    HEALTHY_MS = 5000, /* an epoch that lived so long begins a new count of retries */
};

/* How long the disk has been without a healthy epoch. */
struct patience {
    int64_t lost_since_ms; /* 0: healthy */
    int backoff_ms;
};

static bool take_copy_turn(struct disk *disk, struct error *err)
{
    struct transfer *transfer = disk->transfer;
    int limit = transfer->spec.parallel_disks > 0 ? transfer->spec.parallel_disks : 1;
    for (;;) {
        if (!transfer_goes_on(transfer, err))
            return false;
        int ahead = 0;
        pthread_mutex_lock(&transfer->lock);
        for (int i = 0; i < disk->index; i++)
            ahead += !transfer->disks[i].is_copied || transfer->disks[i].has_copy_turn;
        if (ahead < limit)
            disk->has_copy_turn = true;
        bool is_ours = disk->has_copy_turn;
        pthread_mutex_unlock(&transfer->lock);
        if (is_ours)
            return true;
        transfer_pause(transfer, TICK_MS * 2);
    }
}

/* A disk that was copied once keeps out of the queue: its next epochs send little. */
static void end_copy_turn(struct disk *disk)
{
    struct transfer *transfer = disk->transfer;
    pthread_mutex_lock(&transfer->lock);
    disk->is_copied = true;
    disk->has_copy_turn = false;
    pthread_cond_broadcast(&transfer->has_changed);
    pthread_mutex_unlock(&transfer->lock);
}

/* Asks the relay once a tick: how long writes waited lately, and whether it has ended. */
static int64_t look_at_relay(struct disk *disk, bool *has_ended)
{
    struct transfer *transfer = disk->transfer;
    struct link_relay_status status;
    pthread_mutex_lock(&transfer->lock);
    disk_mirror_relay_status(disk, &status);
    int64_t wait_ms = disk->recent_wait_ms;
    disk->recent_wait_ms = 0;
    pthread_mutex_unlock(&transfer->lock);
    *has_ended = status.has_ended;
    return wait_ms;
}

static bool advance_copy(struct disk *disk, int64_t wait_ms, struct error *err)
{
    bool has_ended;
    disk_copy_adjust(disk, wait_ms);
    if (!disk_copy_check(disk, &has_ended, err))
        return false;
    if (!has_ended)
        return true;
    disk_copy_stop(disk);
    failpoint_pass("transfer.copied");
    log_info("disk %s: copied", disk->spec->device);
    end_copy_turn(disk);
    return true;
}

/* Returns when the epoch is broken or the transfer is over. */
static void watch_epoch(struct disk *disk, struct patience *patience, struct error *why)
{
    int64_t started_ms = clock_monotonic_ms(), checked_ms = started_ms;
    while (transfer_goes_on(disk->transfer, why)) {
        bool has_ended;
        int64_t now_ms = clock_monotonic_ms(), wait_ms = look_at_relay(disk, &has_ended);
        if (has_ended || now_ms - checked_ms >= CHECK_MS) {
            checked_ms = now_ms;
            if (!disk_mirror_check(disk, why))
                return;
        }
        if (disk->copier && !advance_copy(disk, wait_ms, why))
            return;
        if (now_ms - started_ms >= HEALTHY_MS)
            *patience = (struct patience){0};
        transfer_pause(disk->transfer, TICK_MS);
    }
}

/* Leaves nothing of an earlier epoch but its bitmaps, and the guest running. */
static bool clean(struct disk *disk, struct mirror_job *last, struct error *err)
{
    struct transfer *transfer = disk->transfer;
    if (!disk->monitor && !disk_mirror_attach(disk, err))
        return false;
    pthread_mutex_lock(&transfer->stop_lock);
    bool is_repaired = guest_stop_repair(&transfer->guest, disk->monitor, err);
    pthread_mutex_unlock(&transfer->stop_lock);
    return is_repaired && disk_mirror_end(disk, last, err);
}

static void run_epoch(struct disk *disk, struct patience *patience, struct error *why)
{
    struct mirror_job last;
    if (disk_mirror_attach(disk, why) && clean(disk, &last, why) && disk_mirror_start(disk, why) &&
        disk_copy_start(disk, why))
        watch_epoch(disk, patience, why);
}

/* What no further epoch can mend. */
static bool is_fatal(enum error_code code)
{
    switch (code) {
    case ERROR_NO_SPACE:
    case ERROR_INVALID:
    case ERROR_NOT_FOUND: /* no such domain any more */
    case ERROR_CONFLICT:  /* it does not run */
    case ERROR_UNSUPPORTED:
    case ERROR_INTERNAL:
    case ERROR_CANCELLED:
    case ERROR_GUEST_ENDED:
        return true;
    case ERROR_REFUSED: /* QEMU, while an older epoch is about to end */
    case ERROR_UNREACHABLE:
    case ERROR_TIMEOUT:
    case ERROR_MIRROR_LOST:
        return false;
    }
    return true;
}

static void note_stalled(struct disk *disk, const struct error *why)
{
    struct transfer *transfer = disk->transfer;
    auto_free char *text =
        memory_format("destination %s, disk %s: %s", transfer->spec.destination.address,
                      disk->spec->device, why->text);
    pthread_mutex_lock(&transfer->lock);
    disk->is_stalled = true;
    memccpy(disk->waits_for, text, 0, sizeof disk->waits_for - 1);
    pthread_cond_broadcast(&transfer->has_changed);
    pthread_mutex_unlock(&transfer->lock);
}

/* Cleans up after a cut. The job may know the reason better than who noticed the cut. */
static bool recover(struct disk *disk, struct error *why, struct error *err)
{
    struct mirror_job last;
    struct error reason;
    if (!clean(disk, &last, err))
        return false;
    if (last.failure[0] && !mirror_job_failure(&last, &reason) && reason.code == ERROR_NO_SPACE)
        *why = reason;
    return true;
}

/* Cleans up and waits for the next try; false: there is none, *why says why. */
static bool wait_for_next_epoch(struct disk *disk, struct patience *patience, struct error *why)
{
    struct transfer *transfer = disk->transfer;
    struct error err;
    int64_t now_ms = clock_monotonic_ms();
    note_stalled(disk, why);
    log_warning("disk %s: %s", disk->spec->device, why->text);
    if (patience->lost_since_ms == 0)
        *patience = (struct patience){.lost_since_ms = now_ms, .backoff_ms = BACKOFF_FIRST_MS};
    bool is_clean = recover(disk, why, &err);
    if (!is_clean && (is_fatal(err.code) || !is_fatal(why->code)))
        *why = err;
    if (is_fatal(why->code))
        return false;
    if (now_ms - patience->lost_since_ms > transfer->environment.peer_retry_limit_ms) {
        if (error_is_transient(why->code))
            why->code = ERROR_UNREACHABLE;
        return error_prefix(why, "gave up after %d s",
                            transfer->environment.peer_retry_limit_ms / 1000);
    }
    transfer_pause(transfer, patience->backoff_ms);
    patience->backoff_ms *= 2;
    if (patience->backoff_ms > BACKOFF_LAST_MS)
        patience->backoff_ms = BACKOFF_LAST_MS;
    return true;
}

static void fail_transfer(struct disk *disk, const struct error *why)
{
    struct transfer *transfer = disk->transfer;
    pthread_mutex_lock(&transfer->lock);
    if (!transfer->has_failed && !transfer->is_over) {
        transfer->has_failed = true;
        transfer->failure = *why;
    }
    transfer->is_over = true;
    pthread_cond_broadcast(&transfer->has_changed);
    pthread_mutex_unlock(&transfer->lock);
}

/* What an earlier run, of this process or of one before it, left running is kept when it is whole,
 * else cleaned away. */
static void begin(struct disk *disk, struct patience *patience, struct error *why)
{
    struct mirror_job last;
    struct error lost;
    if (!disk_mirror_attach(disk, why))
        return;
    if (disk_mirror_check(disk, &lost) && disk->is_copied)
        watch_epoch(disk, patience, why);
    else if (clean(disk, &last, why) && take_copy_turn(disk, why))
        run_epoch(disk, patience, why);
}

void *disk_run(void *argument)
{
    struct disk *disk = argument;
    struct transfer *transfer = disk->transfer;
    struct patience patience = {0};
    struct error why, over;
    log_context_migration(transfer->spec.migration);
    log_context_trace(transfer->spec.traceparent);
    begin(disk, &patience, &why);
    while (transfer_goes_on(transfer, &over)) {
        if (wait_for_next_epoch(disk, &patience, &why))
            run_epoch(disk, &patience, &why);
        else
            fail_transfer(disk, &why);
    }
    disk_copy_stop(disk);
    return NULL;
}
