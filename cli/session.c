/* The file of a login; see session.h. */
#include "cli/session.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "base/json_table.h"
#include "base/memory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LIMIT_CA = 256 << 10, LIMIT_TOKEN = 256, LIMIT_SESSION = 512 << 10 };

static const struct json_field session_fields[] = {
    JSON_CHARS("url", session, url, 1, true),
    JSON_TEXT("ca", session, ca, 1, LIMIT_CA, true),
    JSON_TEXT("token", session, token, 1, LIMIT_TOKEN, true),
    {0},
};

void session_done(struct session *session)
{
    json_release(session_fields, session);
}

/* The caller frees. */
static bool find_path(char **path, struct error *err)
{
    const char *given = getenv("CROSSPOOL_SESSION");
    const char *base = getenv("XDG_CONFIG_HOME");
    const char *home = getenv("HOME");
    if (given && given[0])
        *path = memory_copy_text(given);
    else if (base && base[0])
        *path = memory_format("%s/crosspool/session.json", base);
    else if (home && home[0])
        *path = memory_format("%s/.config/crosspool/session.json", home);
    else
        return error_set(err, ERROR_INVALID, "set HOME or CROSSPOOL_SESSION");
    return true;
}

static bool check_private(const char *path, struct error *err)
{
    struct stat found;
    if (stat(path, &found) != 0)
        return errno == ENOENT ? error_set(err, ERROR_NOT_FOUND,
                                           "%s does not exist: crosspool login makes it", path)
                               : error_set_errno(err, ERROR_INTERNAL, errno, "%s", path);
    if (found.st_uid != geteuid() || (found.st_mode & 077) != 0)
        return error_set(err, ERROR_REFUSED,
                         "%s: expected a file that only you may read (chmod 600)", path);
    return true;
}

bool session_read(struct session *session, struct error *err)
{
    auto_free char *path = NULL;
    auto_free char *text = NULL;
    size_t size = 0;
    struct session read = {0};
    if (!find_path(&path, err) || !check_private(path, err) ||
        !file_read(path, LIMIT_SESSION, &text, &size, err))
        return false;
    bool is_done = json_decode_text(text, size, session_fields, &read, err);
    explicit_bzero(text, size);
    if (!is_done)
        return error_prefix(err, "%s", path);
    *session = read;
    return true;
}

bool session_write(const struct session *session, struct error *err)
{
    auto_free char *path = NULL;
    if (!find_path(&path, err))
        return false;
    auto_free char *folder = memory_copy_text(path);
    char *slash = strrchr(folder, '/');
    if (slash && slash != folder) {
        *slash = '\0';
        if (!file_make_directory(folder, 0700, err))
            return false;
    }
    auto_free char *text = json_encode_text(session_fields, session);
    return file_write(path, 0600, text, strlen(text), err);
}
