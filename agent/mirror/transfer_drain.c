/* The end of the mirrors inside the pause: the guest is suspended, every write is to be at the
 * destination. All disks go through each step together, so that the pause is that of the slowest.
 * The ledger is corrected later: nothing here waits for the journal. */
#include "agent/mirror/disk_copy.h"
#include "agent/mirror/disk_mirror.h"
#include "agent/mirror/transfer_state.h"
#include "base/clock.h"

enum { POLL_MS = 2 };

static int left_ms(int64_t deadline)
{
    int64_t left = deadline - clock_monotonic_ms();
    return left > 0 ? (int)left : 0;
}

static bool wait_in_sync(struct disk *disk, int64_t deadline, struct error *err)
{
    for (;;) {
        struct mirror_job job;
        if (!mirror_job_query(disk->monitor, &disk->names, &job, err))
            return false;
        if (!job.exists || job.has_concluded)
            return mirror_job_failure(&job, err);
        if (job.is_in_sync)
            return true;
        if (left_ms(deadline) == 0)
            return error_set(err, ERROR_TIMEOUT, "the mirror is not in sync");
        clock_sleep_ms(POLL_MS);
    }
}

/* Neither "ready" nor "in sync" nor a good answer to the request proves anything: the job's own
 * conclusion does. */
static bool wait_completed(struct disk *disk, int64_t deadline, struct error *err)
{
    struct mirror_job job;
    if (!mirror_job_wait_concluded(disk->monitor, &disk->names, left_ms(deadline), &job, err))
        return false;
    if (!job.exists || job.failure[0])
        return mirror_job_failure(&job, err);
    return mirror_job_dismiss(disk->monitor, &disk->names, err);
}

static bool close_target(struct disk *disk, int64_t deadline, struct error *err)
{
    (void)deadline;
    return mirror_job_remove_target(disk->monitor, &disk->names, err);
}

/* QEMU has closed its side; the relay passes on what it has and ends. */
static bool end_relay(struct disk *disk, int64_t deadline, struct error *err)
{
    struct link_relay *relay = disk->mirror_relay;
    if (!relay || !link_relay_wait(relay, left_ms(deadline)))
        return error_set(err, ERROR_TIMEOUT, "the mirror's connection does not end");
    disk_mirror_close_streams(disk);
    return true;
}

static bool check(struct disk *disk, int64_t deadline, struct error *err)
{
    (void)deadline;
    if (!disk->is_copied)
        return error_set(err, ERROR_MIRROR_LOST, "not copied");
    return disk_mirror_check(disk, err);
}

static bool request_end(struct disk *disk, int64_t deadline, struct error *err)
{
    (void)deadline;
    return mirror_job_complete(disk->monitor, &disk->names, err);
}

bool transfer_drain(struct transfer *transfer, int timeout_ms, struct error *err)
{
    typedef bool step_fn(struct disk * disk, int64_t deadline, struct error * err);
    static step_fn *const steps[] = {check,          wait_in_sync, request_end,
                                     wait_completed, close_target, end_relay};
    int64_t deadline = clock_monotonic_ms() + timeout_ms;
    for (size_t step = 0; step < sizeof steps / sizeof steps[0]; step++) {
        for (size_t i = 0; i < transfer->disk_count; i++) {
            struct disk *disk = &transfer->disks[i];
            if (steps[step](disk, deadline, err))
                continue;
            err->code = ERROR_MIRROR_LOST;
            return error_prefix(err, "disk %s", disk->spec->device);
        }
    }
    return true;
}
