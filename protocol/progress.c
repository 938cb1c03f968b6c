/* Decoding tables of progress; see progress.h. */
#include "protocol/progress.h"

#include "base/json_table.h"

static const struct json_field disk_fields[] = {
    JSON_INT("index", disk_progress, index, 0, LIMIT_DISKS - 1, true),
    JSON_BYTES("total_bytes", disk_progress, total, false),
    JSON_BYTES("copied_bytes", disk_progress, copied, false),
    JSON_BYTES("zero_bytes", disk_progress, zero, false),
    JSON_BYTES("mirrored_bytes", disk_progress, mirrored, false),
    JSON_BYTES("resent_bytes", disk_progress, resent, false),
    JSON_BYTES("rate_bytes_per_s", disk_progress, rate_per_s, false),
    JSON_INT64("eta_s", disk_progress, eta_s, -1, INT64_MAX, false),
    JSON_INT64("mirror_epoch", disk_progress, mirror_epoch, 0, INT64_MAX, false),
    JSON_BOOL("is_mirrored", disk_progress, is_mirrored, false),
    JSON_BOOL("is_copied", disk_progress, is_copied, false),
    {0},
};

static const struct json_field memory_fields[] = {
    JSON_BYTES("total_bytes", memory_progress, total, false),
    JSON_BYTES("sent_bytes", memory_progress, sent, false),
    JSON_BYTES("dirty_bytes_per_s", memory_progress, dirty_rate_per_s, false),
    JSON_INT("iteration", memory_progress, iteration, 0, INT32_MAX, false),
    {0},
};

const struct json_field migration_progress_fields[] = {
    JSON_UUID("migration", migration_progress, migration, true),
    JSON_ENUM("phase", migration_progress, phase, migration_phase_names, true),
    JSON_LIST("disks", migration_progress, disks, disk_progress, LIMIT_DISKS, disk_fields, false),
    JSON_OBJECT("memory", migration_progress, memory, memory_fields, false),
    JSON_INT64("pause_us", migration_progress, pause_us, 0, INT64_MAX, false),
    JSON_INT64("longest_stall_ms", migration_progress, longest_stall_ms, 0, INT64_MAX, false),
    JSON_CHARS("waits_for", migration_progress, waits_for, 0, false),
    {0},
};
