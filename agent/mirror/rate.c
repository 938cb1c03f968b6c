/* Token bucket and rate meter. */
#include "agent/mirror/rate.h"

/* A limited copy sends in bursts of at most this much time's worth. */
enum { BURST_US = 50000 };

static double rate_per_us(const struct rate_limit *limit)
{
    return (double)limit->bytes_per_s / 1e6;
}

/* Takes in what came since the last look, at the rate that held until now. */
static void refill(struct rate_limit *limit, int64_t now_us)
{
    double rate = rate_per_us(limit);
    double credit = (double)limit->credit_bytes + (double)(now_us - limit->filled_at_us) * rate;
    if (credit > BURST_US * rate)
        credit = BURST_US * rate;
    limit->credit_bytes = (int64_t)credit;
    limit->filled_at_us = now_us;
}

void rate_limit_set(struct rate_limit *limit, uint64_t bytes_per_s, int64_t now_us)
{
    if (limit->bytes_per_s == 0) {
        limit->credit_bytes = 0;
        limit->filled_at_us = now_us;
    } else {
        refill(limit, now_us);
    }
    limit->bytes_per_s = bytes_per_s;
}

int rate_limit_wait_ms(struct rate_limit *limit, int64_t now_us)
{
    if (limit->bytes_per_s == 0)
        return 0;
    refill(limit, now_us);
    if (limit->credit_bytes >= 0)
        return 0;
    double wait_ms = (double)-limit->credit_bytes / rate_per_us(limit) / 1000;
    return wait_ms > 1000 ? 1000 : (int)wait_ms + 1;
}

void rate_limit_spend(struct rate_limit *limit, uint64_t bytes)
{
    if (limit->bytes_per_s != 0)
        limit->credit_bytes -= (int64_t)bytes;
}

void rate_meter_update(struct rate_meter *meter, uint64_t total, int64_t now_ms)
{
    if (meter->count > 0) {
        unsigned last = (meter->count - 1) % RATE_METER_SAMPLES;
        if (now_ms - meter->samples[last].at_ms < RATE_METER_STEP_MS)
            return;
    }
    unsigned next = meter->count % RATE_METER_SAMPLES;
    meter->samples[next].at_ms = now_ms;
    meter->samples[next].total = total;
    meter->count++;
}

uint64_t rate_meter_bytes_per_s(const struct rate_meter *meter, uint64_t total, int64_t now_ms)
{
    if (meter->count == 0)
        return 0;
    unsigned kept = meter->count < RATE_METER_SAMPLES ? meter->count : RATE_METER_SAMPLES;
    for (unsigned age = kept; age > 0; age--) {
        unsigned i = (meter->count - age) % RATE_METER_SAMPLES;
        int64_t span_ms = now_ms - meter->samples[i].at_ms;
        if (span_ms > RATE_METER_SPAN_MS)
            continue;
        if (span_ms <= 0)
            return 0;
        return (total - meter->samples[i].total) * 1000 / (uint64_t)span_ms;
    }
    return 0;
}
