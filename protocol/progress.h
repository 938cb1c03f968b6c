/* Progress of one migration as its source sees it. Bytes unless named otherwise. */
#pragma once

#include "base/json.h"
#include "protocol/vocabulary.h"

struct disk_progress {
    int index;
    uint64_t total;
    uint64_t copied;   /* of total, by the background copy; zeroes and holes count */
    uint64_t zero;     /* part of copied that was not sent because it is zero or a hole */
    uint64_t mirrored; /* guest writes carried by the mirror */
    uint64_t resent;   /* sent again after cuts */
    uint64_t rate_per_s;
    int64_t eta_s;        /* -1 = not known yet */
    int64_t mirror_epoch; /* 0 = not begun */
    bool is_mirrored;     /* a mirror runs now */
    bool is_copied;
};
struct memory_progress {
    uint64_t total;
    uint64_t sent;
    uint64_t dirty_rate_per_s;
    int iteration;
};
struct migration_progress {
    char migration[UUID_SIZE];
    enum migration_phase phase;
    struct json_array disks; /* struct disk_progress */
    struct memory_progress memory;
    int64_t pause_us;         /* 0 until measured */
    int64_t longest_stall_ms; /* the longest time that a mirrored write waited so far */
    char waits_for[160];      /* "" or what it waits for, in words */
};
extern const struct json_field migration_progress_fields[];
