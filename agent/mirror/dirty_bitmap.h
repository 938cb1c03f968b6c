/* The dirty bitmaps by which a disk's mirror resumes: one for each mirror epoch, on the disk's
 * node. As long as one of ours is on the node and records, everything that was written since the
 * first epoch whose bitmap was not yet worked in is in their union. They live in QEMU's memory: a
 * QEMU that was replaced has none. */
#pragma once

#include "agent/mirror/chunk_map.h"
#include "agent/mirror/mirror_job.h"

enum { DIRTY_BITMAP_GRANULARITY = 4096, DIRTY_BITMAP_NAME_SIZE = 64, DIRTY_BITMAP_LIMIT = 64 };

struct dirty_bitmap_list {
    size_t count;
    bool is_recording; /* one of them is */
    char names[DIRTY_BITMAP_LIMIT][DIRTY_BITMAP_NAME_SIZE];
};
/* Those of this migration's disk. */
bool dirty_bitmap_find(struct monitor *monitor, const struct mirror_names *names, const char *node,
                       struct dirty_bitmap_list *out, struct error *err) must_check;
void dirty_bitmap_name(const struct mirror_names *names, int64_t epoch,
                       char out[DIRTY_BITMAP_NAME_SIZE]);
/* One transaction: disables the older ones and adds `name`, which records from then on. When the
 * older ones are not there (another QEMU) nothing is done. */
bool dirty_bitmap_switch(struct monitor *monitor, const char *node,
                         const struct dirty_bitmap_list *older, const char *name,
                         struct error *err) must_check;
bool dirty_bitmap_remove(struct monitor *monitor, const char *node, const char *name,
                         struct error *err) must_check;

/* Clears in the map what the listed (disabled) bitmaps call dirty: their union is merged into a
 * bitmap of an empty node, which QEMU's NBD server shows at `socket_path`. The disk itself is never
 * exported: with an iothread QEMU would die of it. One call at a time for each QEMU. */
bool dirty_bitmap_read(struct monitor *monitor, const struct mirror_names *names, const char *node,
                       const struct dirty_bitmap_list *list, uint64_t size_bytes,
                       const char *socket_path, struct chunk_map *map,
                       struct error *err) must_check;
/* What a dirty_bitmap_read that was cut short may have left. */
bool dirty_bitmap_clean(struct monitor *monitor, const struct mirror_names *names,
                        const char *socket_path, struct error *err) must_check;
