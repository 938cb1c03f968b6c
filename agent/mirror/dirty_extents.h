/* Reads the dirty extents of an exported bitmap (NBD meta context qemu:dirty-bitmap:NAME). */
#pragma once

#include "agent/mirror/chunk_map.h"

/* Clears every dirty extent of the export in the map. */
bool dirty_extents_clear(const char *socket_path, const char *export_name, const char *bitmap,
                         uint64_t size_bytes, struct chunk_map *map, struct error *err) must_check;
