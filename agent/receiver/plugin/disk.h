/* The received disk: epochs, marks and backend put together. A client is one NBD connection to
 * export mirror.N or copy.N. Data functions may be called from any thread and return 0 or an errno
 * value: ESHUTDOWN when the client's epoch is over, EINVAL for a range that is not of whole
 * sectors.
 *
 * A write or flush that failed is remembered for the rest of the epoch: every later flush (and
 * write with FUA) of the epoch fails with it, because what it would promise is no longer true. The
 * next epoch writes everything again that was not flushed. */
#pragma once

#include "agent/receiver/plugin/backend.h"

struct disk;

enum disk_role { DISK_MIRROR, DISK_COPY };
struct disk_client {
    enum disk_role role;
    int64_t epoch;
};

/* Takes the backend over, also on failure. Mirror epochs must be at least lowest_epoch (>= 1). */
bool disk_open(struct disk **out, struct backend *backend, int64_t lowest_epoch,
               struct error *err) must_check;
void disk_close(struct disk *disk); /* NULL is fine */
uint64_t disk_size(const struct disk *disk);
/* Starts the thread that flushes what was written about every second, so that the last flush of a
 * mirror is a short one: a guest's flush is not forwarded by the mirror. */
bool disk_start_flusher(struct disk *disk, struct error *err) must_check;
void disk_stop_flusher(struct disk *disk); /* not running is fine */

/* Parses the export's name and admits the connection; see epoch.h. */
bool disk_attach(struct disk *disk, const char *export_name, struct disk_client *out,
                 struct error *err) must_check;
int disk_read(struct disk *disk, const struct disk_client *client, void *data, size_t size,
              uint64_t offset);
int disk_write(struct disk *disk, const struct disk_client *client, const void *data, size_t size,
               uint64_t offset, bool is_fua);
int disk_zero(struct disk *disk, const struct disk_client *client, uint64_t size, uint64_t offset,
              bool may_trim, bool is_fua);
int disk_flush(struct disk *disk, const struct disk_client *client);
