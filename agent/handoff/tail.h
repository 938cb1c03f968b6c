/* Holds back the last bytes of the domain's stream. On Xen the stream ends with an END record of
 * exactly 8 bytes, and the destination starts its device model, which opens the disks, once it has
 * read it; QEMU's own stream, too, cannot be finished without its last bytes. So while they are
 * held, the destination prepares everything and touches no disk. */
#pragma once

#include <stddef.h>

enum { TAIL_BYTES = 8 };

struct tail {
    unsigned char bytes[TAIL_BYTES];
    size_t size;
};

/* `data` holds `size` bytes that came next, with room for TAIL_BYTES in front of it. Returns where
 * the bytes that may go on begin, and how many they are; the last 8 of all stay in the tail. */
const unsigned char *tail_pass(struct tail *tail, unsigned char *data, size_t size, size_t *passed);
