/* Atomic counters; see tally.h. */
#include "coordinator/scheduler/tally.h"

#include <stdatomic.h>

enum { KINDS = STEP_CLEAN_DESTINATION + 1 };

const int64_t tally_pause_us[TALLY_PAUSES] = {10000,   25000,   50000,   100000,   250000,  500000,
                                              1000000, 2500000, 5000000, 10000000, 60000000};

static struct {
    _Atomic uint64_t results[KINDS][2];
    _Atomic uint64_t pauses, pause_sum_us;
    _Atomic uint64_t buckets[TALLY_PAUSES];
    _Atomic uint64_t copied;
} tally;

void tally_result(enum step_kind kind, bool is_done, int64_t pause_us)
{
    atomic_fetch_add(&tally.results[kind][is_done], 1);
    if (pause_us <= 0)
        return;
    atomic_fetch_add(&tally.pauses, 1);
    atomic_fetch_add(&tally.pause_sum_us, (uint64_t)pause_us);
    int bucket = 0;
    while (bucket < TALLY_PAUSES && pause_us > tally_pause_us[bucket])
        bucket++;
    if (bucket < TALLY_PAUSES)
        atomic_fetch_add(&tally.buckets[bucket], 1);
}

void tally_copied(int64_t bytes)
{
    if (bytes > 0)
        atomic_fetch_add(&tally.copied, (uint64_t)bytes);
}

uint64_t tally_results(enum step_kind kind, bool is_done)
{
    return atomic_load(&tally.results[kind][is_done]);
}

void tally_pauses(struct tally_pauses *out)
{
    out->count = atomic_load(&tally.pauses);
    out->sum_us = atomic_load(&tally.pause_sum_us);
    for (int i = 0; i < TALLY_PAUSES; i++)
        out->buckets[i] = atomic_load(&tally.buckets[i]);
}

uint64_t tally_copied_bytes(void)
{
    return atomic_load(&tally.copied);
}
