/* Reading just enough of xl's configurations; see xen_autostart.h. */
#include "agent/hypervisor/libxl/xen_autostart.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "base/memory.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { CONFIG_LIMIT = 1 << 20, VALUE_LIMIT = 256 };

/* The text that a line `key = "value"` of the configuration gives; the last one counts, as for xl.
 * False when there is none. */
static bool find_value(const char *text, const char *key, char out[VALUE_LIMIT])
{
    bool is_found = false;
    for (const char *line = text; *line; line += *line == '\n') {
        const char *at = line + strspn(line, " \t");
        size_t length = strlen(key);
        line += strcspn(line, "\n");
        if (strncmp(at, key, length) != 0)
            continue;
        at += length + strspn(at + length, " \t");
        if (*at++ != '=')
            continue;
        at += strspn(at, " \t");
        char quote = *at;
        if (quote != '"' && quote != '\'')
            continue;
        const char *end = strchr(at + 1, quote);
        if (!end || end > line || end - at > VALUE_LIMIT)
            continue;
        snprintf(out, VALUE_LIMIT, "%.*s", (int)(end - at - 1), at + 1);
        is_found = true;
    }
    return is_found;
}

static bool is_of_domain(const char *path, const char *uuid, const char *name)
{
    auto_free char *text = NULL;
    char value[VALUE_LIMIT];
    struct error why; /* a folder, a dangling link: xl cannot start it either */
    if (!file_read(path, CONFIG_LIMIT, &text, NULL, &why))
        return false;
    if (find_value(text, "uuid", value))
        return strcasecmp(value, uuid) == 0;
    return find_value(text, "name", value) && strcmp(value, name) == 0;
}

static bool move(const char *path, const char *to, const char *entry, struct error *err)
{
    auto_free char *place = memory_format("%s/%s", to, entry);
    if (!file_make_directory(to, 0755, err))
        return false;
    return rename(path, place) == 0 ||
           error_set_errno(err, ERROR_INTERNAL, errno, "moving %s to %s", path, place);
}

bool xen_autostart_move(const char *from, const char *to, const char *uuid, const char *name,
                        int *moved, struct error *err)
{
    int count = 0;
    bool is_done = true;
    DIR *files = opendir(from);
    const struct dirent *entry;
    if (!files && errno != ENOENT)
        return error_set_errno(err, ERROR_INTERNAL, errno, "%s", from);
    while (files && is_done && (entry = readdir(files))) {
        auto_free char *path = memory_format("%s/%s", from, entry->d_name);
        if (!is_of_domain(path, uuid, name))
            continue;
        is_done = move(path, to, entry->d_name, err);
        count += is_done;
    }
    if (files)
        closedir(files);
    if (is_done)
        *moved = count;
    return is_done;
}
