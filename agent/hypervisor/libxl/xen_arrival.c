/* Coding and files; see xen_arrival.h. */
#include "agent/hypervisor/libxl/xen_arrival.h"

#include "agent/hypervisor/libxl/xen_autostart.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/json_table.h"
#include "base/memory.h"
#include "protocol/vocabulary.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

enum {
    RECORD_LIMIT = 1 << 20,
    TEXT_LIMIT = XEN_AUTOSTART_LIMIT + (192 << 10), /* with what the driver adds */
};

static const struct json_field fields[] = {
    JSON_UUID("uuid", xen_arrival, uuid, true),
    JSON_TEXT("name", xen_arrival, name, 0, LIMIT_PATH, true),
    JSON_TEXT("text", xen_arrival, text, 0, TEXT_LIMIT, true),
    {0},
};

void xen_arrival_done(struct xen_arrival *arrival)
{
    json_release(fields, arrival);
}

bool xen_arrival_write(const char *folder, const struct xen_arrival *arrival, struct error *err)
{
    auto_free char *path = memory_format("%s/%s", folder, arrival->uuid);
    auto_free char *text = json_encode_text(fields, arrival);
    return file_make_directory(folder, 0700, err) &&
           file_write(path, 0600, text, strlen(text), err);
}

bool xen_arrival_read(const char *folder, const char *uuid, struct xen_arrival *out,
                      struct error *err)
{
    auto_free char *path = memory_format("%s/%s", folder, uuid);
    auto_free char *text = NULL;
    struct xen_arrival found = {0};
    size_t size;
    if (!file_read(path, RECORD_LIMIT, &text, &size, err))
        return false;
    if (!json_decode_text(text, size, fields, &found, err))
        return error_prefix(err, "%s", path);
    *out = found;
    return true;
}

bool xen_arrival_remove(const char *folder, const char *uuid, struct error *err)
{
    auto_free char *path = memory_format("%s/%s", folder, uuid);
    return file_remove(path, err);
}

/* xendomains is a shell script, and so are many that look into its folder. */
static bool is_file_name(const char *name)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "._-+";
    enum { LONGEST = 200 };
    size_t length = strlen(name);
    return length > 0 && length <= LONGEST && name[0] != '.' && name[0] != '-' &&
           strspn(name, plain) == length;
}

/* What is there of this domain is in the other folder by now: the name is free or another's, which
 * a link may be whose file is not to be seen now. */
static char *choose_place(const struct xen_arrival *arrival, const char *into)
{
    char *path = memory_format("%s/%s.cfg", into, arrival->name);
    bool is_free = faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW) < 0;
    if (is_file_name(arrival->name) && is_free)
        return path;
    free(path);
    return memory_format("%s/%s.cfg", into, arrival->uuid);
}

static bool sync_folder(const char *path, struct error *err)
{
    auto_close int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return (fd >= 0 && fsync(fd) == 0) || error_set_errno(err, ERROR_INTERNAL, errno, "%s", path);
}

/* Written beside it under a name that the shell's * leaves out, then renamed. Only root reads it: a
 * configuration may hold a password. */
static bool put_file(const char *path, const char *into, const struct xen_arrival *arrival,
                     struct error *err)
{
    auto_free char *unfinished = memory_format("%s/.crosspool-%s", into, arrival->uuid);
    if (!file_write(unfinished, 0600, arrival->text, strlen(arrival->text), err))
        return false;
    if (rename(unfinished, path) < 0)
        return error_set_errno(err, ERROR_INTERNAL, errno, "renaming %s to %s", unfinished, path);
    return sync_folder(into, err);
}

bool xen_arrival_place(const struct xen_arrival *arrival, const char *into, const char *moved,
                       char **entry, struct error *err)
{
    int count = 0;
    if (!file_make_directory(into, 0755, err) ||
        !xen_autostart_move(into, moved, arrival->uuid, arrival->name, &count, err))
        return false;
    auto_free char *path = choose_place(arrival, into);
    if (!put_file(path, into, arrival, err))
        return false;
    *entry = take(path);
    return true;
}
