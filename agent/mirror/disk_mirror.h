/* One mirror epoch of one disk: its beginning at a snapshot point, and its end. */
#pragma once

#include "agent/mirror/transfer_state.h"

/* Finds the disk at its QEMU. ERROR_NOT_FOUND when the domain is gone, ERROR_GUEST_ENDED when
 * another one has its UUID now. */
bool disk_mirror_attach(struct disk *disk, struct error *err) must_check;
/* Begins the next epoch: the guest is mirrored, and the chunk map says what is to be copied. After
 * a failure disk_mirror_end is needed; the guest runs. */
bool disk_mirror_start(struct disk *disk, struct error *err) must_check;
/* Is the epoch whole up to now? Costs a query; false with the reason. */
bool disk_mirror_check(struct disk *disk, struct error *err) must_check;
/* Ends whatever there is of an epoch, of this process or of one before it: streams, job, target
 * node, reader. The bitmaps stay, so that a new epoch resumes. *reason: why the job had ended, ""
 * when that is not known. Safe to repeat. */
bool disk_mirror_end(struct disk *disk, struct mirror_job *last, struct error *err) must_check;
/* With transfer->lock held: the relay's status (ended when there is none); keeps the waits. */
void disk_mirror_relay_status(struct disk *disk, struct link_relay_status *out);
/* What of it is outside QEMU: streams, reader, sockets. */
void disk_mirror_close_streams(struct disk *disk);
