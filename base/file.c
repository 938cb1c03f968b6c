/* Small whole files; see file.h. */
#include "base/file.h"

#include "base/cleanup.h"
#include "base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool file_read(const char *path, size_t limit, char **text, size_t *size, struct error *err)
{
    auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        enum error_code code = errno == ENOENT ? ERROR_NOT_FOUND : ERROR_INTERNAL;
        return error_set_errno(err, code, errno, "%s", path);
    }
    size_t used = 0, capacity = 4096;
    auto_free char *data = memory_alloc(capacity);
    for (;;) {
        if (used + 1 >= capacity)
            data = memory_resize(data, capacity *= 2, 1);
        ssize_t got = read(fd, data + used, capacity - used - 1);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return error_set_errno(err, ERROR_INTERNAL, errno, "%s", path);
        if (got == 0)
            break;
        used += (size_t)got;
        if (used > limit)
            return error_set(err, ERROR_INVALID, "%s: larger than %zu bytes", path, limit);
    }
    data[used] = '\0';
    if (size)
        *size = used;
    *text = take(data);
    return true;
}

static bool sync_directory_of(const char *path, struct error *err)
{
    auto_free char *copy = memory_copy_text(path);
    const char *directory = dirname(copy);
    auto_close int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) < 0)
        return error_set_errno(err, ERROR_INTERNAL, errno, "%s", directory);
    return true;
}

static bool write_all(int fd, const char *data, size_t size)
{
    while (size) {
        ssize_t done = write(fd, data, size);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return false;
        data += done;
        size -= (size_t)done;
    }
    return true;
}

bool file_write(const char *path, mode_t mode, const void *data, size_t size, struct error *err)
{
    auto_free char *temporary = memory_format("%s.XXXXXX", path);
    auto_close int fd = mkostemp(temporary, O_CLOEXEC);
    if (fd < 0)
        return error_set_errno(err, ERROR_INTERNAL, errno, "%s", path);
    if (!write_all(fd, data, size) || fchmod(fd, mode) < 0 || fsync(fd) < 0 ||
        rename(temporary, path) < 0) {
        int saved = errno;
        unlink(temporary);
        return error_set_errno(err, ERROR_INTERNAL, saved, "%s", path);
    }
    return sync_directory_of(path, err);
}

bool file_make_directory(const char *path, mode_t mode, struct error *err)
{
    auto_free char *copy = memory_copy_text(path);
    for (char *p = copy + 1; *p; p++) {
        if (*p != '/')
            continue;
        *p = '\0';
        if (mkdir(copy, mode) < 0 && errno != EEXIST)
            return error_set_errno(err, ERROR_INTERNAL, errno, "%s", copy);
        *p = '/';
    }
    if (mkdir(copy, mode) < 0 && errno != EEXIST)
        return error_set_errno(err, ERROR_INTERNAL, errno, "%s", path);
    return true;
}

bool file_remove(const char *path, struct error *err)
{
    if (unlink(path) < 0 && errno != ENOENT)
        return error_set_errno(err, ERROR_INTERNAL, errno, "%s", path);
    return true;
}

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *where)
{
    (void)info;
    (void)kind;
    (void)where;
    return remove(path) < 0 && errno != ENOENT ? -1 : 0;
}

bool file_remove_tree(const char *path, struct error *err)
{
    if (nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) < 0 && errno != ENOENT)
        return error_set_errno(err, ERROR_INTERNAL, errno, "%s", path);
    return true;
}
