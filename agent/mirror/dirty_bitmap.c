/* QMP commands of the dirty bitmaps, and reading their union. */
#include "agent/mirror/dirty_bitmap.h"

#include "agent/mirror/dirty_extents.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/unix_socket.h"

#include <stdio.h>
#include <string.h>

enum { DELETE_MS = 5000, POLL_MS = 2 };
#define MERGED_BITMAP "merged"

static void list_node(const json_t *info, const struct mirror_names *names,
                      struct dirty_bitmap_list *out)
{
    const json_t *bitmaps = json_object_get(info, "dirty-bitmaps");
    for (size_t i = 0; i < json_array_size(bitmaps); i++) {
        const json_t *bitmap = json_array_get(bitmaps, i);
        const char *name = json_string_value(json_object_get(bitmap, "name"));
        if (!name || strncmp(name, names->bitmap, strlen(names->bitmap)) != 0)
            continue;
        if (json_is_true(json_object_get(bitmap, "recording")))
            out->is_recording = true;
        if (out->count < DIRTY_BITMAP_LIMIT)
            snprintf(out->names[out->count], DIRTY_BITMAP_NAME_SIZE, "%s", name);
        out->count++;
    }
}

bool dirty_bitmap_find(struct monitor *monitor, const struct mirror_names *names, const char *node,
                       struct dirty_bitmap_list *out, struct error *err)
{
    json_t *answer = NULL;
    if (!monitor_command(monitor, "query-named-block-nodes", json_pack("{s:b}", "flat", 1), &answer,
                         err))
        return false;
    bool is_there = false;
    *out = (struct dirty_bitmap_list){0};
    for (size_t i = 0; i < json_array_size(answer); i++) {
        const json_t *info = json_array_get(answer, i);
        const char *name = json_string_value(json_object_get(info, "node-name"));
        if (!name || strcmp(name, node) != 0)
            continue;
        is_there = true;
        list_node(info, names, out);
    }
    json_decref(answer);
    if (!is_there)
        return error_set(err, ERROR_NOT_FOUND, "QEMU has no block node %s", node);
    if (out->count > DIRTY_BITMAP_LIMIT)
        return error_set(err, ERROR_INTERNAL, "block node %s has %zu bitmaps of this migration",
                         node, out->count);
    return true;
}

void dirty_bitmap_name(const struct mirror_names *names, int64_t epoch,
                       char out[DIRTY_BITMAP_NAME_SIZE])
{
    snprintf(out, DIRTY_BITMAP_NAME_SIZE, "%s%lld", names->bitmap, (long long)epoch);
}

bool dirty_bitmap_switch(struct monitor *monitor, const char *node,
                         const struct dirty_bitmap_list *older, const char *name, struct error *err)
{
    json_t *actions = json_array();
    for (size_t i = 0; i < older->count; i++)
        json_array_append_new(actions,
                              json_pack("{s:s, s:{s:s, s:s}}", "type", "block-dirty-bitmap-disable",
                                        "data", "node", node, "name", older->names[i]));
    json_array_append_new(actions, json_pack("{s:s, s:{s:s, s:s, s:i}}", "type",
                                             "block-dirty-bitmap-add", "data", "node", node, "name",
                                             name, "granularity", DIRTY_BITMAP_GRANULARITY));
    return monitor_command(monitor, "transaction", json_pack("{s:o}", "actions", actions), NULL,
                           err);
}

bool dirty_bitmap_remove(struct monitor *monitor, const char *node, const char *name,
                         struct error *err)
{
    json_t *arguments = json_pack("{s:s, s:s}", "node", node, "name", name);
    return monitor_command(monitor, "block-dirty-bitmap-remove", arguments, NULL, err);
}

static bool make_scratch(struct monitor *monitor, const struct mirror_names *names,
                         uint64_t size_bytes, struct error *err)
{
    json_t *node = json_pack("{s:s, s:s, s:I}", "driver", "null-co", "node-name", names->scratch,
                             "size", (json_int_t)size_bytes);
    if (!monitor_command(monitor, "blockdev-add", node, NULL, err))
        return false;
    json_t *bitmap =
        json_pack("{s:s, s:s, s:i, s:b}", "node", names->scratch, "name", MERGED_BITMAP,
                  "granularity", DIRTY_BITMAP_GRANULARITY, "disabled", 1);
    return monitor_command(monitor, "block-dirty-bitmap-add", bitmap, NULL, err);
}

static bool merge(struct monitor *monitor, const struct mirror_names *names, const char *node,
                  const struct dirty_bitmap_list *list, struct error *err)
{
    json_t *sources = json_array();
    for (size_t i = 0; i < list->count; i++)
        json_array_append_new(sources,
                              json_pack("{s:s, s:s}", "node", node, "name", list->names[i]));
    json_t *arguments = json_pack("{s:s, s:s, s:o}", "node", names->scratch, "target",
                                  MERGED_BITMAP, "bitmaps", sources);
    return monitor_command(monitor, "block-dirty-bitmap-merge", arguments, NULL, err);
}

static bool export_scratch(struct monitor *monitor, const struct mirror_names *names,
                           const char *socket_path, struct error *err)
{
    json_t *server = json_pack("{s:{s:s, s:{s:s}}, s:i}", "addr", "type", "unix", "data", "path",
                               socket_path, "max-connections", 1);
    if (!monitor_command(monitor, "nbd-server-start", server, NULL, err))
        return false;
    json_t *arguments = json_pack("{s:s, s:s, s:s, s:s, s:b, s:[s]}", "type", "nbd", "id",
                                  names->scratch, "node-name", names->scratch, "name",
                                  names->scratch, "writable", 0, "bitmaps", MERGED_BITMAP);
    return monitor_command(monitor, "block-export-add", arguments, NULL, err);
}

/* Commands on something that is not there are refused: that is fine here. */
static bool unless_absent(struct monitor *monitor, const char *command, json_t *arguments,
                          struct error *err)
{
    return monitor_command(monitor, command, arguments, NULL, err) || err->code == ERROR_REFUSED;
}

static bool has_export(struct monitor *monitor, const struct mirror_names *names, bool *is_there,
                       struct error *err)
{
    json_t *answer = NULL;
    if (!monitor_command(monitor, "query-block-exports", NULL, &answer, err))
        return false;
    *is_there = false;
    for (size_t i = 0; i < json_array_size(answer); i++) {
        const char *id = json_string_value(json_object_get(json_array_get(answer, i), "id"));
        if (id && strcmp(id, names->scratch) == 0)
            *is_there = true;
    }
    json_decref(answer);
    return true;
}

/* Deleting is asynchronous: QEMU lets the export go when its last client is gone. */
static bool delete_export(struct monitor *monitor, const struct mirror_names *names,
                          struct error *err)
{
    json_t *arguments = json_pack("{s:s, s:s}", "id", names->scratch, "mode", "hard");
    bool is_there = true;
    if (!unless_absent(monitor, "block-export-del", arguments, err))
        return false;
    for (int64_t deadline = clock_monotonic_ms() + DELETE_MS;;) {
        if (!has_export(monitor, names, &is_there, err))
            return false;
        if (!is_there)
            return true;
        if (clock_monotonic_ms() > deadline)
            return error_set(err, ERROR_TIMEOUT, "export %s does not go away", names->scratch);
        clock_sleep_ms(POLL_MS);
    }
}

/* QEMU has one NBD server: ours is the one that listens on our path. Nobody may connect to find
 * that out: nbd-server-stop of QEMU 7.2 waits for a client in its greeting, which nobody serves
 * while it waits, so that the monitor and with it the guest would stand still for ever. */
static bool stop_server(struct monitor *monitor, const char *socket_path, struct error *err)
{
    if (unix_socket_is_listening(socket_path) &&
        !unless_absent(monitor, "nbd-server-stop", NULL, err))
        return false;
    return file_remove(socket_path, err);
}

bool dirty_bitmap_clean(struct monitor *monitor, const struct mirror_names *names,
                        const char *socket_path, struct error *err)
{
    bool is_there;
    return has_export(monitor, names, &is_there, err) &&
           (!is_there || delete_export(monitor, names, err)) &&
           stop_server(monitor, socket_path, err) &&
           unless_absent(monitor, "blockdev-del", json_pack("{s:s}", "node-name", names->scratch),
                         err);
}

bool dirty_bitmap_read(struct monitor *monitor, const struct mirror_names *names, const char *node,
                       const struct dirty_bitmap_list *list, uint64_t size_bytes,
                       const char *socket_path, struct chunk_map *map, struct error *err)
{
    bool is_done =
        dirty_bitmap_clean(monitor, names, socket_path, err) &&
        make_scratch(monitor, names, size_bytes, err) && merge(monitor, names, node, list, err) &&
        export_scratch(monitor, names, socket_path, err) &&
        dirty_extents_clear(socket_path, names->scratch, MERGED_BITMAP, size_bytes, map, err);
    struct error unclean;
    bool is_clean = dirty_bitmap_clean(monitor, names, socket_path, &unclean);
    if (is_done && !is_clean)
        *err = unclean;
    return is_done && is_clean;
}
