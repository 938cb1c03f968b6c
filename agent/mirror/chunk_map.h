/* Which chunks of a disk are flushed at the destination: one bit per chunk in a file, so that a
 * copy goes on after any crash. A bit is set only after the receiver's flush of that chunk
 * returned; a crash can lose set bits, never invent them (ranges that were cleared count only after
 * chunk_map_save).
 *
 * In memory each chunk also has 64 blocks: of a chunk that was done before only the blocks that
 * were cleared since are wanted again, which keeps what is sent after a cut near to what the guest
 * wrote. */
#pragma once

#include "base/error.h"

#include <stdint.h>

enum { CHUNK_MAP_BLOCKS = 64 }; /* per chunk; a block is chunk_bytes / 64 */

struct chunk_map;

/* Opens or creates; a file of another disk size, chunk size or VDI is replaced by an empty map
 * (checksummed header). `chunk_bytes` is a multiple of 64 * 512. */
bool chunk_map_open(struct chunk_map **out, const char *path, const char *destination_vdi,
                    uint64_t size_bytes, uint32_t chunk_bytes, struct error *err) must_check;
void chunk_map_close(struct chunk_map *map); /* NULL is fine; does not save */
uint64_t chunk_map_count(const struct chunk_map *map);
bool chunk_map_is_done(const struct chunk_map *map, uint64_t chunk);
/* Blocks of the chunk that are to be copied, bit i = block i; 0 when it is done. */
uint64_t chunk_map_wanted(const struct chunk_map *map, uint64_t chunk);
/* What need not be copied any more. */
uint64_t chunk_map_done_bytes(const struct chunk_map *map);
/* In memory; durable with chunk_map_save. */
void chunk_map_set_done(struct chunk_map *map, uint64_t chunk);
/* Marks all chunks that the byte range touches as not done. */
void chunk_map_clear_range(struct chunk_map *map, uint64_t offset, uint64_t size);
bool chunk_map_save(struct chunk_map *map, struct error *err) must_check;
