/* Coding and files; see xen_restart.h. */
#include "agent/hypervisor/libxl/xen_restart.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "base/json_table.h"
#include "base/memory.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

enum { CONFIG_LIMIT = 1 << 20, RECORD_LIMIT = 2 << 20 };

static const struct json_field fields[] = {
    JSON_UUID("uuid", xen_restart, uuid, true),
    JSON_CHARS("boot", xen_restart, boot, 1, true),
    JSON_INT("old_id", xen_restart, old_id, 0, XEN_ID_LAST, true),
    JSON_INT("new_id", xen_restart, new_id, 0, XEN_ID_LAST, true),
    JSON_BOOL("is_built", xen_restart, is_built, true),
    JSON_BOOL("keeps_old", xen_restart, keeps_old, true),
    JSON_BYTES("memory_bytes", xen_restart, memory_bytes, true),
    {JSON_ROW("config", xen_restart, config, JSON_FIELD_ANY, true), .max = CONFIG_LIMIT},
    {0},
};

void xen_restart_done(struct xen_restart *restart)
{
    json_release(fields, restart);
}

static char *path_of(const char *folder, const char *uuid)
{
    return memory_format("%s/%s", folder, uuid);
}

bool xen_restart_write(const char *folder, const struct xen_restart *restart, struct error *err)
{
    auto_free char *path = path_of(folder, restart->uuid);
    auto_free char *text = json_encode_text(fields, restart);
    return file_make_directory(folder, 0700, err) &&
           file_write(path, 0600, text, strlen(text), err);
}

bool xen_restart_read(const char *folder, const char *uuid, struct xen_restart *out,
                      struct error *err)
{
    auto_free char *path = path_of(folder, uuid);
    auto_free char *text = NULL;
    auto_xen_restart struct xen_restart found = {0};
    size_t size;
    if (!file_read(path, RECORD_LIMIT, &text, &size, err))
        return false;
    if (!json_decode_text(text, size, fields, &found, err))
        return error_prefix(err, "%s", path);
    if (strcmp(found.uuid, uuid) != 0)
        return error_set(err, ERROR_INVALID, "%s: it is of domain %s", path, found.uuid);
    *out = found;
    found = (struct xen_restart){0};
    return true;
}

bool xen_restart_remove(const char *folder, const char *uuid, struct error *err)
{
    auto_free char *path = path_of(folder, uuid);
    return file_remove(path, err);
}

bool xen_restart_list(const char *folder, char (**uuids)[UUID_SIZE], size_t *count,
                      struct error *err)
{
    char(*found)[UUID_SIZE] = NULL;
    size_t used = 0;
    DIR *files = opendir(folder);
    const struct dirent *entry;
    if (!files && errno != ENOENT)
        return error_set_errno(err, ERROR_INTERNAL, errno, "%s", folder);
    while (files && used < LIMIT_DOMAINS && (entry = readdir(files))) {
        if (!uuid_is_valid(entry->d_name)) /* "." and unfinished files too */
            continue;
        found = memory_resize(found, used + 1, sizeof *found);
        memcpy(found[used++], entry->d_name, UUID_SIZE);
    }
    if (files)
        closedir(files);
    *uuids = found;
    *count = used;
    return true;
}

bool xen_restart_config(const struct xen_restart *restart, char **text, struct error *err)
{
    json_auto_t *root = NULL;
    if (!json_parse(restart->config, strlen(restart->config), &root, err))
        return error_prefix(err, "configuration");
    json_t *created = json_object_get(root, "c_info");
    if (!json_is_object(created) ||
        json_object_set_new(created, "domid", json_integer(restart->new_id)) < 0)
        return error_set(err, ERROR_INVALID, "configuration: c_info: expected an object");
    *text = json_dumps(root, JSON_COMPACT);
    return *text || error_set(err, ERROR_INTERNAL, "the configuration cannot be written");
}

/* -- the lock */

/* A lock by fcntl, which no child inherits: QEMU's starter may outlive the agent. */
bool xen_restart_lock(const char *folder, struct xen_restart_lock *lock, struct error *err)
{
    auto_free char *path = memory_format("%s.lock", folder);
    if (!file_make_directory(folder, 0700, err))
        return false;
    auto_close int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    const struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fd < 0)
        return error_set_errno(err, ERROR_INTERNAL, errno, "%s", path);
    if (fcntl(fd, F_SETLK, &whole) == 0) {
        lock->fd = take_fd(&fd);
        return true;
    }
    if (errno == EACCES || errno == EAGAIN)
        return error_set(err, ERROR_CONFLICT, "another process starts guests here");
    return error_set_errno(err, ERROR_INTERNAL, errno, "locking %s", path);
}

void xen_restart_unlock(struct xen_restart_lock *lock)
{
    if (lock->fd >= 0)
        close(take_fd(&lock->fd));
}
