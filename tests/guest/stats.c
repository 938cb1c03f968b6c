/* Latencies and gaps. The guest's clock stands still while the guest is paused; the pause itself is
 * measured by the ticks, on the host's clock. */
#include "guest.h"

#include <string.h>

enum { STEPS = 8, BUCKETS = 64 * STEPS }; /* STEPS buckets for each power of two */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct stats totals;
static uint64_t last_end[MAX_DISKS];
static uint64_t histogram[BUCKETS];

static int bucket_of(uint64_t us)
{
    if (us < STEPS)
        return (int)us;
    int power = 63 - __builtin_clzll(us);
    return power * STEPS + (int)((us >> (power - 3)) & (STEPS - 1));
}

static uint64_t bucket_top(int bucket)
{
    if (bucket < STEPS)
        return (uint64_t)bucket;
    int power = bucket / STEPS;
    return (UINT64_C(1) << power) + ((uint64_t)(bucket % STEPS + 1) << (power - 3)) - 1;
}

void stats_write(int disk, uint64_t begin_us, uint64_t end_us, uint64_t bytes)
{
    uint64_t took = end_us - begin_us;
    pthread_mutex_lock(&lock);
    totals.writes++;
    totals.bytes += bytes;
    histogram[bucket_of(took)]++;
    if (took > totals.max_us)
        totals.max_us = took;
    if (last_end[disk] && end_us > last_end[disk] && end_us - last_end[disk] > totals.gap_us)
        totals.gap_us = end_us - last_end[disk];
    last_end[disk] = end_us;
    pthread_mutex_unlock(&lock);
}

void stats_error(void)
{
    pthread_mutex_lock(&lock);
    totals.errors++;
    pthread_mutex_unlock(&lock);
}

void stats_pause(void)
{
    pthread_mutex_lock(&lock);
    memset(last_end, 0, sizeof last_end);
    pthread_mutex_unlock(&lock);
}

void stats_reset(void)
{
    pthread_mutex_lock(&lock);
    totals = (struct stats){.errors = totals.errors}; /* an error is never forgotten */
    memset(histogram, 0, sizeof histogram);
    memset(last_end, 0, sizeof last_end);
    pthread_mutex_unlock(&lock);
}

static uint64_t percentile(uint64_t percent)
{
    uint64_t count = 0, rank = (totals.writes * percent + 99) / 100;
    for (int i = 0; i < BUCKETS; i++) {
        count += histogram[i];
        if (count && count >= rank)
            return bucket_top(i);
    }
    return 0;
}

void stats_read(struct stats *out)
{
    pthread_mutex_lock(&lock);
    *out = totals;
    out->p50_us = percentile(50);
    out->p99_us = percentile(99);
    pthread_mutex_unlock(&lock);
}
