/* Holds back the last bytes of the domain's stream; see tail.h. */
#include "agent/handoff/tail.h"

#include <string.h>

const unsigned char *tail_pass(struct tail *tail, unsigned char *data, size_t size, size_t *passed)
{
    unsigned char *start = data - tail->size;
    size_t total = tail->size + size;
    memcpy(start, tail->bytes, tail->size);
    tail->size = total < TAIL_BYTES ? total : TAIL_BYTES;
    *passed = total - tail->size;
    memcpy(tail->bytes, start + *passed, tail->size);
    return start;
}
