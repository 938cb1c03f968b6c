/* Backend on a raw file or block device. */
#include "agent/receiver/plugin/backend.h"

#include "agent/receiver/plugin/direct_file.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

enum { ZERO_BYTES = 64 << 10, LOCK_RETRY_MS = 20 };

struct backend_file {
    struct backend base;
    int fd;
    struct direct_file direct;
};

static int fd_of(struct backend *backend)
{
    return ((struct backend_file *)backend)->fd;
}

static void file_close(struct backend *backend)
{
    direct_file_close(&((struct backend_file *)backend)->direct);
    close(fd_of(backend));
    free(backend);
}

static int file_read_at(struct backend *backend, void *data, size_t size, uint64_t offset)
{
    for (char *to = data; size;) {
        ssize_t got = pread(fd_of(backend), to, size, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got < 0 ? errno : EIO; /* the file became shorter */
        to += got;
        size -= (size_t)got;
        offset += (uint64_t)got;
    }
    return 0;
}

static int file_write_at(struct backend *backend, const void *data, size_t size, uint64_t offset)
{
    for (const char *from = data; size;) {
        ssize_t done = pwrite(fd_of(backend), from, size, (off_t)offset);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return done < 0 ? errno : ENOSPC;
        from += done;
        size -= (size_t)done;
        offset += (uint64_t)done;
    }
    return 0;
}

static int file_write_alone(struct backend *backend, const char *data, size_t size, uint64_t offset)
{
    struct direct_file *direct = &((struct backend_file *)backend)->direct;
    size_t start, end;
    int failed = direct_file_write(direct, data, size, offset, &start, &end);
    if (!failed)
        failed = file_write_at(backend, data, start, offset);
    if (!failed)
        failed = file_write_at(backend, data + end, size - end, offset + end);
    return failed;
}

static int write_zeroes(struct backend *backend, uint64_t size, uint64_t offset)
{
    static const char zeroes[ZERO_BYTES];
    while (size) {
        size_t piece = size < sizeof zeroes ? (size_t)size : sizeof zeroes;
        int failed = file_write_at(backend, zeroes, piece, offset);
        if (failed)
            return failed;
        size -= piece;
        offset += piece;
    }
    return 0;
}

static int allocate(int fd, int mode, uint64_t offset, uint64_t size)
{
    for (;;) {
        if (fallocate(fd, mode | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)size) == 0)
            return 0;
        if (errno != EINTR)
            return errno;
    }
}

static bool cannot_do(int failed)
{
    return failed == EOPNOTSUPP || failed == ENOSYS || failed == EINVAL || failed == ENODEV;
}

static int file_zero(struct backend *backend, uint64_t size, uint64_t offset, bool may_trim)
{
    int failed = EOPNOTSUPP;
    if (may_trim)
        failed = allocate(fd_of(backend), FALLOC_FL_PUNCH_HOLE, offset, size);
    if (cannot_do(failed))
        failed = allocate(fd_of(backend), FALLOC_FL_ZERO_RANGE, offset, size);
    if (cannot_do(failed))
        failed = write_zeroes(backend, size, offset);
    return failed;
}

static int file_flush(struct backend *backend)
{
    return fdatasync(fd_of(backend)) < 0 ? errno : 0;
}

static const struct backend_driver file_driver = {
    .close = file_close,
    .read = file_read_at,
    .write = file_write_at,
    .write_alone = file_write_alone,
    .zero = file_zero,
    .flush = file_flush,
};

static bool lock(int fd, const char *path, int wait_ms, struct error *err)
{
    int64_t until = clock_monotonic_ms() + wait_ms;
    while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return error_set_errno(err, ERROR_INTERNAL, errno, "cannot lock %s", path);
        if (clock_monotonic_ms() >= until)
            return error_set(err, ERROR_CONFLICT, "%s is written by another receiver", path);
        clock_sleep_ms(LOCK_RETRY_MS);
    }
    return true;
}

bool backend_open_file(struct backend **out, const char *path, int lock_wait_ms, struct error *err)
{
    auto_close int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return error_set_errno(err, errno == ENOENT ? ERROR_NOT_FOUND : ERROR_INTERNAL, errno, "%s",
                               path);
    if (!lock(fd, path, lock_wait_ms, err))
        return false;
    off_t size = lseek(fd, 0, SEEK_END); /* of a block device too */
    if (size < 0)
        return error_set_errno(err, ERROR_INTERNAL, errno, "%s", path);
    struct backend_file *file = memory_alloc(sizeof *file);
    file->base.driver = &file_driver;
    file->base.size_bytes = (uint64_t)size;
    file->fd = take_fd(&fd);
    direct_file_open(&file->direct, path);
    *out = &file->base;
    return true;
}
