/* The background copy of one disk in its present epoch: the copier with its streams to the
 * receiver. */
#pragma once

#include "agent/mirror/transfer_state.h"

bool disk_copy_start(struct disk *disk, struct error *err) must_check;
/* *has_ended: true with success = every chunk is flushed at the destination. */
bool disk_copy_check(struct disk *disk, bool *has_ended, struct error *err) must_check;
/* A peer that refuses may be one that has just been started again and does not know us yet: but for
 * a full disk all of it is worth another try. Returns false. */
bool disk_copy_connect_error(struct error *err);
/* Sets the copier's rate by what the guest's mirrored writes suffer and by the transfer's cap. */
void disk_copy_adjust(struct disk *disk, int64_t wait_ms);
/* Stops the copy, done or not, and ends its streams and the reader; what is flushed stays so. */
void disk_copy_stop(struct disk *disk);
