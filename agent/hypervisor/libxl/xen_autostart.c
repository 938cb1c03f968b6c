/* The folder's entries; see xen_autostart.h. */
#include "agent/hypervisor/libxl/xen_autostart.h"

#include "agent/hypervisor/libxl/xen_cfg.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum {
    CONFIG_LIMIT = 1 << 20,
    VALUE_LIMIT = 256,
    FREE_NAMES = 1000,
};

/* -- entries of a folder */

/* libvirt writes these itself, so the element has no attributes and no spaces. */
static bool is_of_libvirt_domain(const char *xml, const char *uuid)
{
    static const char element[] = "<uuid>";
    const char *value = strstr(xml, element);
    return value && strncasecmp(value + strlen(element), uuid, strlen(uuid)) == 0;
}

static bool is_of_domain(const char *text, const char *uuid, const char *name)
{
    char value[VALUE_LIMIT];
    if (text[strspn(text, " \t\r\n")] == '<')
        return is_of_libvirt_domain(text, uuid);
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
    if (faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT)
        return true;
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
