/* Dirty extents over NBD block status; see QEMU, docs/interop/nbd.txt: flag bit 0 is "dirty". */
#include "agent/mirror/dirty_extents.h"

#include "agent/mirror/nbd_client.h"
#include "base/cleanup.h"
#include "base/memory.h"

#include <string.h>

#define QUERY_BYTES (UINT64_C(1) << 30)
enum { STATE_DIRTY = 1 };

struct walk {
    const char *context;
    uint64_t at;
    struct chunk_map *map;
};

static int on_extents(void *user_data, const char *context, uint64_t offset, uint32_t *entries,
                      size_t count, int *error)
{
    struct walk *walk = user_data;
    (void)error;
    if (strcmp(context, walk->context) != 0 || offset != walk->at)
        return 0;
    for (size_t i = 0; i + 1 < count; i += 2) {
        if (entries[i + 1] & STATE_DIRTY)
            chunk_map_clear_range(walk->map, walk->at, entries[i]);
        walk->at += entries[i];
    }
    return 0;
}

static bool walk_extents(struct nbd_client *client, struct walk *walk, uint64_t size_bytes,
                         struct error *err)
{
    if (nbd_can_meta_context(client->handle, walk->context) != 1)
        return error_set(err, ERROR_INTERNAL, "the export has no meta context %s", walk->context);
    if (nbd_get_size(client->handle) != (int64_t)size_bytes)
        return error_set(err, ERROR_INTERNAL, "the export of the bitmap has another size");
    while (walk->at < size_bytes) {
        uint64_t before = walk->at, left = size_bytes - before;
        nbd_extent_callback callback = {.callback = on_extents, .user_data = walk};
        if (nbd_block_status(client->handle, left < QUERY_BYTES ? left : QUERY_BYTES, before,
                             callback, 0) != 0)
            return nbd_client_error(err, "read the dirty bitmap");
        if (walk->at == before)
            return error_set(err, ERROR_INTERNAL, "no dirty extents at byte %llu",
                             (unsigned long long)before);
    }
    return true;
}

bool dirty_extents_clear(const char *socket_path, const char *export_name, const char *bitmap,
                         uint64_t size_bytes, struct chunk_map *map, struct error *err)
{
    auto_free char *context = memory_format("qemu:dirty-bitmap:%s", bitmap);
    struct nbd_client client;
    if (!nbd_client_open(&client, socket_path, export_name, context, err))
        return error_prefix(err, "dirty bitmap");
    struct walk walk = {.context = context, .map = map};
    bool is_done = walk_extents(&client, &walk, size_bytes, err);
    nbd_client_close(&client);
    return is_done;
}
