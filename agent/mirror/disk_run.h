/* The life of one disk during transfer_run, on a thread of its own:
 *
 *   wait for the turn to copy -> begin a mirror epoch -> copy -> watch the mirror until all disks
 *   are done; whatever cuts it: end the epoch, wait, begin the next one.
 */
#pragma once

#include "agent/mirror/transfer_state.h"

/* Thread function; `disk` is a struct disk. Ends when the transfer is over or fails it. */
void *disk_run(void *disk);
