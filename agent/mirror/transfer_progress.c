/* What a transfer tells of itself. */
#include "agent/mirror/disk_mirror.h"
#include "agent/mirror/transfer_state.h"
#include "base/memory.h"

#include <stdio.h>
#include <string.h>

static void fill_copied(const struct disk *disk, struct disk_progress *out)
{
    struct copier_numbers numbers = {0};
    if (disk->copier)
        copier_numbers(disk->copier, &numbers);
    out->copied = disk->copied_base_bytes + numbers.copied_bytes;
    if (out->copied > out->total)
        out->copied = out->total;
    out->zero = disk->zero_bytes + numbers.zero_bytes;
    if (out->zero > out->copied)
        out->zero = out->copied;
    out->rate_per_s = numbers.rate_bytes_per_s;
    out->eta_s = -1;
    if (disk->is_copied)
        out->eta_s = 0;
    else if (out->rate_per_s > 0)
        out->eta_s = (int64_t)((out->total - out->copied) / out->rate_per_s);
}

/* With the lock held. Returns the longest wait of a mirrored write. */
static int64_t fill_disk(struct disk *disk, struct disk_progress *out)
{
    struct link_relay_status status;
    disk_mirror_relay_status(disk, &status);
    out->index = disk->index;
    out->total = disk->spec->size_bytes;
    out->mirrored = disk->mirrored_bytes + status.written_bytes;
    out->resent = disk->resent_bytes;
    out->mirror_epoch = disk->epoch;
    out->is_mirrored = disk->is_mirrored;
    out->is_copied = disk->is_copied;
    fill_copied(disk, out);
    return disk->longest_wait_ms;
}

void transfer_progress(struct transfer *transfer, struct migration_progress *out)
{
    memset(out, 0, sizeof *out);
    memcpy(out->migration, transfer->spec.migration, sizeof out->migration);
    struct disk_progress *disks = memory_array(transfer->disk_count, sizeof *disks);
    pthread_mutex_lock(&transfer->lock);
    out->phase = transfer->phase;
    for (size_t i = 0; i < transfer->disk_count; i++) {
        struct disk *disk = &transfer->disks[i];
        int64_t longest_ms = fill_disk(disk, &disks[i]);
        if (longest_ms > out->longest_stall_ms)
            out->longest_stall_ms = longest_ms;
        if (!disk->is_stalled || transfer->phase != PHASE_COPYING)
            continue;
        out->phase = PHASE_STALLED;
        snprintf(out->waits_for, sizeof out->waits_for, "%s", disk->waits_for);
    }
    pthread_mutex_unlock(&transfer->lock);
    out->disks = (struct json_array){.items = disks, .count = transfer->disk_count};
}
