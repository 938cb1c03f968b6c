/* Counts of what this process did since it began, for metrics; any thread. */
#pragma once

#include "coordinator/domain/migration.h"
#include "protocol/step.h"

enum { TALLY_PAUSES = 11 };
extern const int64_t tally_pause_us[TALLY_PAUSES]; /* upper bounds of the buckets, rising */

/* A result that was taken, after its commit; pause_us 0 = none was measured. */
void tally_result(enum step_kind kind, bool is_done, int64_t pause_us);
/* Bytes of disks that a report said were sent since the one before. */
void tally_copied(int64_t bytes);

struct tally_pauses {
    uint64_t count;
    uint64_t sum_us;
    uint64_t buckets[TALLY_PAUSES]; /* each counts its own range only */
};
uint64_t tally_results(enum step_kind kind, bool is_done);
void tally_pauses(struct tally_pauses *out);
uint64_t tally_copied_bytes(void);
