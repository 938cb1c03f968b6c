/* Frames from a hostile peer: a stream of bytes is cut into frames; whatever is accepted is within
 * its limits, encodes back to the same bytes, and a failure's text is clean. */
#include "agent/handoff/frame.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool is_true)
{
    if (!is_true)
        abort();
}

static void check_failure(const char *payload, size_t size)
{
    struct error failure;
    struct error err;
    char again[FRAME_FAILURE_LIMIT];
    if (!frame_decode_failure(payload, size, &failure, &err)) {
        check(err.code == ERROR_INVALID && err.text[0]);
        return;
    }
    for (const char *c = failure.text; *c; c++)
        check((unsigned char)*c >= ' ' && *c != 0x7f);
    check(frame_encode_failure(&failure, again) <= FRAME_FAILURE_LIMIT);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    while (size >= FRAME_HEADER_BYTES) {
        struct frame frame;
        struct error err;
        unsigned char header[FRAME_HEADER_BYTES];
        if (!frame_decode(data, &frame, &err)) {
            check(err.code == ERROR_INVALID && err.text[0]);
            return 0;
        }
        frame_encode(frame.type, frame.size, header);
        check(memcmp(header, data, sizeof header) == 0);
        data += FRAME_HEADER_BYTES;
        size -= FRAME_HEADER_BYTES;
        size_t here = frame.size < size ? frame.size : size;
        if (frame.type == FRAME_FAILED)
            check_failure((const char *)data, here);
        data += here;
        size -= here;
    }
    return 0;
}
