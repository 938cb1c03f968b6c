/* Which 512-byte sectors of a disk the mirror has written since the epoch began, and the order of
 * mirror and copy writes on the same sectors.
 *
 *   mirror: mark the sectors, wait for copy writes in flight on them, write.
 *   copy:   find unmarked sectors and register them (one step), write, deregister.
 *
 * A copy that looks after the mark skips the sectors; one that looked before is waited for. So the
 * mirrored data always lands last, however old the data of the copy is. Copy never waits for
 * mirror. Sectors are 512 bytes because a guest may write as little: a coarser mark would drop the
 * copy's data beside it.
 *
 * The bits are a sparse mapping: memory is used only where marks are. */
#pragma once

#include "base/error.h"

#include <stdint.h>

enum {
    MASK_SECTOR_BYTES = 512,
    MASK_RUN_BYTES = 4 << 20, /* longest run a copy holds, so that a mirror write waits briefly */
};

struct mask;

/* size_bytes is a multiple of 512. */
bool mask_open(struct mask **out, uint64_t size_bytes, struct error *err) must_check;
void mask_free(struct mask *mask); /* NULL is fine */
/* No sector is marked afterwards. Nothing may be in flight. */
void mask_clear(struct mask *mask);

/* All offsets and sizes are bytes, multiples of 512 within the disk. */

/* Marks, and waits for overlapping copy writes; afterwards the caller writes. */
void mask_mirror(struct mask *mask, uint64_t offset, uint64_t size);

/* A copy write, one unmarked run after the other. */
struct mask_copy {
    uint64_t run_offset, run_size; /* registered: nobody else writes it now */
    uint64_t next, end;            /* what is left of the range, in sectors */
    struct mask_copy *below;       /* in the mask's list of runs in flight */
};
void mask_copy_begin(struct mask_copy *copy, uint64_t offset, uint64_t size);
/* Deregisters the run before and registers the next one; false when there is none. */
bool mask_copy_next(struct mask *mask, struct mask_copy *copy) must_check;
/* Deregisters; needed after a loop that ended early, harmless otherwise. */
void mask_copy_end(struct mask *mask, struct mask_copy *copy);
