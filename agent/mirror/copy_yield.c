/* Multiplicative decrease, gentle increase. A write that waits 25 ms for the mirror is already
 * worse than a slow disk; the copy never goes below a rate at which it still ends. */
#include "agent/mirror/copy_yield.h"

enum { STEP_MS = 200, LONG_WAIT_MS = 25, SHORT_WAIT_MS = 10 };
#define FLOOR_BYTES (UINT64_C(16) << 20)
#define STEP_BYTES  (UINT64_C(2) << 20)

uint64_t copy_yield_update(struct copy_yield *yield, int64_t wait_ms, uint64_t sent_bytes,
                           int64_t now_ms)
{
    int64_t span_ms = now_ms - yield->at_ms;
    if (wait_ms > yield->wait_ms)
        yield->wait_ms = wait_ms;
    if (yield->at_ms != 0 && span_ms < STEP_MS)
        return yield->limit_bytes_per_s;
    uint64_t sent = sent_bytes > yield->sent_bytes ? sent_bytes - yield->sent_bytes : 0;
    uint64_t rate = yield->at_ms != 0 && span_ms > 0 ? sent * 1000 / (uint64_t)span_ms : 0;
    uint64_t limit = yield->limit_bytes_per_s;
    if (yield->wait_ms >= LONG_WAIT_MS) {
        /* A limit above what really flows would change nothing. */
        uint64_t from = limit == 0 || rate < limit ? rate : limit;
        limit = from / 4 * 3 > FLOOR_BYTES ? from / 4 * 3 : FLOOR_BYTES;
    } else if (yield->wait_ms < SHORT_WAIT_MS && limit != 0) {
        limit += limit / 8 + STEP_BYTES;
        if (rate != 0 && limit > 4 * rate)
            limit = 0; /* something else is the bottleneck */
    }
    yield->limit_bytes_per_s = limit;
    yield->sent_bytes = sent_bytes;
    yield->at_ms = now_ms;
    yield->wait_ms = 0;
    return limit;
}
