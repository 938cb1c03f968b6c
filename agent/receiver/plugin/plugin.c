/* The nbdkit plugin of the receiver: parameters and callbacks around disk.h.
 *   nbdkit nbdkit-crosspool-plugin.so file=PATH | unix=SOCKET [handles=N] [size=BYTES]
 * [min_epoch=N]
 */
#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

#include "agent/receiver/plugin/breakage.h"
#include "agent/receiver/plugin/disk.h"
#include "base/memory.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define THREAD_MODEL NBDKIT_THREAD_MODEL_PARALLEL

enum { LOCK_WAIT_MS = 10000, PREFERRED_BYTES = 64 << 10, MAXIMUM_BYTES = 32 << 20 };

static struct {
    char *file, *socket; /* exactly one */
    int64_t size_bytes;  /* demanded; 0 = any */
    int64_t min_epoch;
    int handles;
} parameters = {.min_epoch = 1, .handles = 4};
static struct disk *disk;

static int fail(const struct error *err, int errno_value)
{
    nbdkit_error("%s", err->text);
    errno = errno_value;
    return -1;
}

static int parse_number(const char *key, const char *value, int64_t max, int64_t *out)
{
    if (nbdkit_parse_int64_t(key, value, out) < 0)
        return -1;
    if (*out >= 1 && *out <= max)
        return 0;
    nbdkit_error("%s=%s: expected 1 to %" PRId64, key, value, max);
    return -1;
}

static int plugin_config(const char *key, const char *value)
{
    struct error err;
    bool is_mine;
    int64_t number;
    if (!breakage_config(key, value, &is_mine, &err))
        return fail(&err, EINVAL);
    if (is_mine)
        return 0;
    if (strcmp(key, "file") == 0) {
        free(parameters.file);
        parameters.file = nbdkit_absolute_path(value);
        return parameters.file ? 0 : -1;
    }
    if (strcmp(key, "unix") == 0) {
        free(parameters.socket);
        parameters.socket = nbdkit_absolute_path(value);
        return parameters.socket ? 0 : -1;
    }
    if (strcmp(key, "size") == 0)
        return parse_number(key, value, INT64_MAX, &parameters.size_bytes);
    if (strcmp(key, "min_epoch") == 0)
        return parse_number(key, value, INT64_MAX, &parameters.min_epoch);
    if (strcmp(key, "handles") == 0) {
        if (parse_number(key, value, BACKEND_MAX_HANDLES, &number) < 0)
            return -1;
        parameters.handles = (int)number;
        return 0;
    }
    nbdkit_error("unknown parameter \"%s\"", key);
    return -1;
}

static int plugin_config_complete(void)
{
    if (!parameters.file == !parameters.socket) {
        nbdkit_error("expected exactly one of file=PATH and unix=SOCKET");
        return -1;
    }
    return 0;
}

/* Before the socket exists, so that its appearance means that the image is open. */
static int plugin_get_ready(void)
{
    struct error err;
    struct backend *backend = NULL;
    bool is_open = parameters.file
                       ? backend_open_file(&backend, parameters.file, LOCK_WAIT_MS, &err)
                       : backend_open_nbd(&backend, parameters.socket, parameters.handles, &err);
    if (!is_open)
        return fail(&err, EIO);
    if (parameters.size_bytes && (uint64_t)parameters.size_bytes != backend->size_bytes) {
        nbdkit_error("the image has %" PRIu64 " bytes: expected %" PRId64, backend->size_bytes,
                     parameters.size_bytes);
        backend_close(backend);
        return -1;
    }
    return disk_open(&disk, backend, parameters.min_epoch, &err) ? 0 : fail(&err, EINVAL);
}

static int plugin_after_fork(void)
{
    struct error err;
    return disk_start_flusher(disk, &err) ? 0 : fail(&err, EAGAIN);
}

static void plugin_cleanup(void)
{
    if (disk)
        disk_stop_flusher(disk);
}

static void plugin_unload(void)
{
    disk_close(disk);
    free(parameters.file);
    free(parameters.socket);
}

static void *plugin_open(int readonly)
{
    struct error err;
    const char *name = nbdkit_export_name();
    if (!name)
        return NULL;
    struct disk_client *client = memory_alloc(sizeof *client);
    if (!disk_attach(disk, name, client, &err)) {
        free(client);
        fail(&err, err.code == ERROR_NOT_FOUND ? ENOENT : ESHUTDOWN);
        return NULL;
    }
    nbdkit_debug("%s admitted%s", name, readonly ? ", read-only" : "");
    return client;
}

static void plugin_close(void *handle)
{
    free(handle);
}

static int64_t plugin_get_size(void *handle)
{
    (void)handle;
    return (int64_t)disk_size(disk);
}

static int plugin_block_size(void *handle, uint32_t *minimum, uint32_t *preferred,
                             uint32_t *maximum)
{
    (void)handle;
    *minimum = 512;
    *preferred = PREFERRED_BYTES;
    *maximum = MAXIMUM_BYTES;
    return 0;
}

static int plugin_yes(void *handle)
{
    (void)handle;
    return 1;
}

static int plugin_can_fua(void *handle)
{
    (void)handle;
    return NBDKIT_FUA_NATIVE;
}

/* 0 or -1 with errno for nbdkit. The reason of a failure goes to the log; that an epoch is over is
 * no fault. */
static int answer(const char *what, const struct disk_client *client, uint64_t offset, int failed)
{
    if (!failed)
        return 0;
    if (failed == ESHUTDOWN)
        nbdkit_debug("%s: epoch %" PRId64 " is over", what, client->epoch);
    else if (failed == EINVAL)
        nbdkit_error("%s at %" PRIu64 ": expected whole sectors of 512 bytes", what, offset);
    else
        nbdkit_error("%s of %s.%" PRId64 " at %" PRIu64 ": %s", what,
                     client->role == DISK_MIRROR ? "mirror" : "copy", client->epoch, offset,
                     strerror(failed));
    errno = failed;
    return -1;
}

static int plugin_pread(void *handle, void *data, uint32_t count, uint64_t offset, uint32_t flags)
{
    (void)flags;
    return answer("read", handle, offset, disk_read(disk, handle, data, count, offset));
}

static int plugin_pwrite(void *handle, const void *data, uint32_t count, uint64_t offset,
                         uint32_t flags)
{
    bool is_fua = flags & NBDKIT_FLAG_FUA;
    return answer("write", handle, offset, disk_write(disk, handle, data, count, offset, is_fua));
}

static int plugin_zero(void *handle, uint32_t count, uint64_t offset, uint32_t flags)
{
    bool may_trim = flags & NBDKIT_FLAG_MAY_TRIM, is_fua = flags & NBDKIT_FLAG_FUA;
    return answer("zero", handle, offset, disk_zero(disk, handle, count, offset, may_trim, is_fua));
}

/* A trimmed range reads as zeroes: what the destination holds must not depend on its storage. */
static int plugin_trim(void *handle, uint32_t count, uint64_t offset, uint32_t flags)
{
    bool is_fua = flags & NBDKIT_FLAG_FUA;
    return answer("trim", handle, offset, disk_zero(disk, handle, count, offset, true, is_fua));
}

static int plugin_flush(void *handle, uint32_t flags)
{
    (void)flags;
    return answer("flush", handle, 0, disk_flush(disk, handle));
}

static struct nbdkit_plugin plugin = {
#ifdef CROSSPOOL_BROKEN
    .name = "crosspool-broken",
#else
    .name = "crosspool",
#endif
    .longname = "Crosspool receiver",
    .config = plugin_config,
    .config_complete = plugin_config_complete,
    .config_help = "file=PATH        (or unix=) raw image to write\n"
                   "unix=SOCKET      (or file=) NBD server with the image as export \"disk\"\n"
                   "handles=N        connections to that server (default 4)\n"
                   "size=BYTES       the size that the image must have\n"
                   "min_epoch=N      lowest mirror epoch that is admitted (default 1)",
    .get_ready = plugin_get_ready,
    .after_fork = plugin_after_fork,
    .cleanup = plugin_cleanup,
    .unload = plugin_unload,
    .open = plugin_open,
    .close = plugin_close,
    .get_size = plugin_get_size,
    .block_size = plugin_block_size,
    .can_write = plugin_yes,
    .can_flush = plugin_yes,
    .can_trim = plugin_yes,
    .can_zero = plugin_yes,
    .can_multi_conn = plugin_yes,
    .can_fua = plugin_can_fua,
    .pread = plugin_pread,
    .pwrite = plugin_pwrite,
    .zero = plugin_zero,
    .trim = plugin_trim,
    .flush = plugin_flush,
    .errno_is_preserved = 1,
};
NBDKIT_REGISTER_PLUGIN(plugin)
