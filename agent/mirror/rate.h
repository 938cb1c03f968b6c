/* How fast: a token bucket that says when the next bytes may go, and a meter of the last seconds.
 * Neither locks; the caller does. */
#pragma once

#include <stdint.h>

struct rate_limit {
    uint64_t bytes_per_s; /* 0 = no limit */
    int64_t credit_bytes; /* negative: owed */
    int64_t filled_at_us;
};
void rate_limit_set(struct rate_limit *limit, uint64_t bytes_per_s, int64_t now_us);
/* Milliseconds until something may be sent; 0 = now. */
int rate_limit_wait_ms(struct rate_limit *limit, int64_t now_us);
void rate_limit_spend(struct rate_limit *limit, uint64_t bytes);

enum {
    RATE_METER_SAMPLES = 16,
    RATE_METER_STEP_MS = 250,
    RATE_METER_SPAN_MS = RATE_METER_SAMPLES * RATE_METER_STEP_MS,
};
struct rate_meter {
    struct {
        int64_t at_ms;
        uint64_t total;
    } samples[RATE_METER_SAMPLES];
    unsigned count; /* ever taken */
};
/* `total` only grows; call as often as you like. */
void rate_meter_update(struct rate_meter *meter, uint64_t total, int64_t now_ms);
/* Over the last 4 seconds, up to now. */
uint64_t rate_meter_bytes_per_s(const struct rate_meter *meter, uint64_t total, int64_t now_ms);
