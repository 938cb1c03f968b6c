/* The folder's entries, and those that wait; see xen_autostart.h. */
#include "agent/hypervisor/libxl/xen_autostart.h"

#include "agent/hypervisor/libxl/xen_cfg.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/json_table.h"
#include "base/memory.h"
#include "protocol/vocabulary.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum {
    CONFIG_LIMIT = 1 << 20,
    VALUE_LIMIT = 256,
    RECORD_LIMIT = 1 << 20,
    /* what the driver adds to a text of XEN_AUTOSTART_LIMIT, and JSON's escapes */
    TEXT_LIMIT = 256 << 10,
    FREE_NAMES = 1000,
};

/* -- entries of a folder */

static bool is_of_domain(const char *text, const char *uuid, const char *name)
{
    char value[VALUE_LIMIT];
    if (xen_cfg_value(text, "uuid", value, sizeof value))
        return strcasecmp(value, uuid) == 0;
    return xen_cfg_value(text, "name", value, sizeof value) && strcmp(value, name) == 0;
}

/* What cannot be read (a folder, a dangling link) xl cannot start either. */
static bool read_entry(const char *path, char **text, size_t *size)
{
    struct error why;
    return file_read(path, CONFIG_LIMIT, text, size, &why);
}

/* The shell's * leaves the others out. */
static int is_listed(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

/* In the order of their names. *entries is NULL where there is no folder. */
static bool list(const char *folder, struct dirent ***entries, int *count, struct error *err)
{
    *entries = NULL;
    *count = scandir(folder, entries, is_listed, alphasort);
    if (*count >= 0)
        return true;
    *count = 0;
    return errno == ENOENT || error_set_errno(err, ERROR_INTERNAL, errno, "%s", folder);
}

static void free_list(struct dirent **entries, int count)
{
    for (int i = 0; i < count; i++)
        free(entries[i]);
    free(entries);
}

/* -- finding */

static bool check_text(const char *path, const char *text, size_t size, struct error *err)
{
    json_auto_t *json = json_string(text);
    if (size > XEN_AUTOSTART_LIMIT)
        return error_set(err, ERROR_INVALID, "%s has %zu bytes, at most %d", path, size,
                         XEN_AUTOSTART_LIMIT);
    return (json && strlen(text) == size) || error_set(err, ERROR_INVALID, "%s is no UTF-8", path);
}

bool xen_autostart_find(const char *folder, const char *uuid, const char *name, char **text,
                        struct error *err)
{
    struct dirent **entries;
    int count;
    bool is_fine = true;
    char *found = NULL;
    if (!list(folder, &entries, &count, err))
        return false;
    for (int i = 0; i < count && !found && is_fine; i++) {
        auto_free char *path = memory_format("%s/%s", folder, entries[i]->d_name);
        auto_free char *here = NULL;
        size_t size;
        if (!read_entry(path, &here, &size) || !is_of_domain(here, uuid, name))
            continue;
        is_fine = check_text(path, here, size, err);
        found = is_fine ? take(here) : NULL;
    }
    free_list(entries, count);
    if (is_fine)
        *text = found;
    return is_fine;
}

/* -- moving */

/* A text of the driver's own may be replaced; what a person wrote stays. */
static bool may_be_replaced(const char *path)
{
    auto_free char *text = NULL;
    size_t size;
    if (access(path, F_OK) < 0 && errno == ENOENT) {
        char target[2]; /* a dangling link is somebody's too */
        return readlink(path, target, sizeof target) < 0;
    }
    return read_entry(path, &text, &size) && xen_cfg_is_ours(text);
}

static bool move_entry(const char *path, const char *to, const char *entry, struct error *err)
{
    auto_free char *place = memory_format("%s/%s", to, entry);
    if (!file_make_directory(to, 0755, err))
        return false;
    for (int i = 1; !may_be_replaced(place) && i < FREE_NAMES; i++) {
        free(place);
        place = memory_format("%s/%s.%d", to, entry, i);
    }
    return rename(path, place) == 0 ||
           error_set_errno(err, ERROR_INTERNAL, errno, "moving %s to %s", path, place);
}

bool xen_autostart_move(const char *from, const char *to, const char *uuid, const char *name,
                        int *moved, struct error *err)
{
    struct dirent **entries;
    int count, done = 0;
    bool is_fine = true;
    if (!list(from, &entries, &count, err))
        return false;
    for (int i = 0; i < count && is_fine; i++) {
        auto_free char *path = memory_format("%s/%s", from, entries[i]->d_name);
        auto_free char *text = NULL;
        size_t size;
        if (!read_entry(path, &text, &size) || !is_of_domain(text, uuid, name))
            continue;
        is_fine = move_entry(path, to, entries[i]->d_name, err);
        done += is_fine;
    }
    free_list(entries, count);
    if (is_fine)
        *moved = done;
    return is_fine;
}

/* -- what waits */

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

/* What is there of this domain is in the other folder by now: the name is free or another's. */
static char *choose_place(const struct xen_arrival *arrival, const char *into)
{
    char *path = memory_format("%s/%s.cfg", into, arrival->name);
    if (is_file_name(arrival->name) && access(path, F_OK) < 0)
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
