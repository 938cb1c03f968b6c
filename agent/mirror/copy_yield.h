/* How fast the copy may go beside a guest that writes: slower when mirrored writes wait long,
 * faster again when they do not. Pure: no I/O, no clock. */
#pragma once

#include <stdint.h>

struct copy_yield {
    uint64_t limit_bytes_per_s; /* 0 = none */
    uint64_t sent_bytes;
    int64_t wait_ms; /* the longest of this step */
    int64_t at_ms;
};
/* `wait_ms`: the longest wait of a mirrored write since the last call. Returns the limit. */
uint64_t copy_yield_update(struct copy_yield *yield, int64_t wait_ms, uint64_t sent_bytes,
                           int64_t now_ms);
