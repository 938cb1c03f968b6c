/* How long a move will take, from what ended moves between the same two hosts have measured. Pure.
 */
#pragma once

#include "protocol/vocabulary.h"

/* Means over the last moves from one host to another that nothing slowed down. */
struct preflight_rates {
    int samples; /* 0 = none: the rest says nothing */
    uint64_t copy_bytes_per_s;
    uint64_t memory_bytes_per_s;
    int64_t pause_us; /* of live moves; 0 = none among them */
};

struct prediction_load {
    uint64_t disk_bytes; /* allocated: about what the copy sends */
    uint64_t memory_bytes;
    uint64_t bandwidth_bytes_per_s; /* cap of the copy; 0 = none */
    enum migration_mode mode;
};

struct prediction {
    uint64_t send_bytes; /* disks and memory, once each */
    /* send time = disk_bytes / min(copy rate, cap) + memory_bytes / memory rate, whole seconds,
     * each part rounded up; -1 = not known */
    int64_t seconds;
    /* live: the mean of the measured pauses; suspend: memory_bytes / memory rate; -1 = not known */
    int64_t pause_ms;
    uint64_t copy_bytes_per_s; /* that it counts with; 0 = not known */
};

void prediction_make(struct prediction *out, const struct preflight_rates *rates,
                     const struct prediction_load *load);
