/* Finds and sends the pages of a guest's RAM that differ from what was sent last, by content:
 * QEMU's own tracking of dirty pages loses guest writes under TCG. A page that changes while it is
 * read is sent as it was read and differs again in the next pass; the pass after the suspension is
 * exact. */
#pragma once

#include "agent/hypervisor/qemu/ram_stream.h"

struct ram_scan;

/* `fd` is the file that backs the RAM, shared with QEMU. */
bool ram_scan_open(struct ram_scan **out, int fd, uint64_t ram_bytes, struct error *err) must_check;
void ram_scan_close(struct ram_scan *scan);
/* One pass with `threads` threads; *changed_bytes is what differed. `tick` (may be NULL) is called
 * now and then from any of them. */
bool ram_scan_pass(struct ram_scan *scan, struct ram_writer *writer, int threads,
                   void (*tick)(void *context), void *context, uint64_t *changed_bytes,
                   struct error *err) must_check;
