/* Image files through qemu-img; see image.h. */
#include "agent/storage/image.h"

#include "agent/process/child.h"
#include "base/cleanup.h"
#include "base/json.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

enum { QEMU_IMG_LIMIT_MS = 60000, INFO_LIMIT = 4 << 20 };

/* The largest size that a dynamic VHD's block table can hold in QEMU (2040 GiB). */
#define VHD_LIMIT_BYTES (UINT64_C(2040) << 30)

static const char *const qemu_names[] = {
    [IMAGE_RAW] = "raw", [IMAGE_QCOW2] = "qcow2", [IMAGE_VHD] = "vpc"};

static bool check_size(enum image_format format, uint64_t size_bytes, struct error *err)
{
    if (size_bytes == 0 || size_bytes % 512 || size_bytes > (uint64_t)LIMIT_SIZE_BYTES)
        return error_set(err, ERROR_INVALID,
                         "size %" PRIu64 ": expected a multiple of 512 up to %" PRId64, size_bytes,
                         LIMIT_SIZE_BYTES);
    if (format == IMAGE_VHD && size_bytes > VHD_LIMIT_BYTES)
        return error_set(err, ERROR_UNSUPPORTED,
                         "a VHD holds at most 2040 GiB, not %" PRIu64 " bytes", size_bytes);
    return true;
}

static bool create_raw(const char *path, uint64_t size_bytes, struct error *err)
{
    auto_close int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, (off_t)size_bytes) < 0 || fsync(fd) < 0)
        return error_set_errno(err, ERROR_INTERNAL, errno, "cannot create %s", path);
    return true;
}

static bool create_formatted(const char *path, enum image_format format, uint64_t size_bytes,
                             struct error *err)
{
    /* Made here first: only its owner may read it, and an existing file is not overwritten. */
    auto_close int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return error_set_errno(err, ERROR_INTERNAL, errno, "cannot create %s", path);
    char size[24];
    snprintf(size, sizeof size, "%" PRIu64, size_bytes);
    const char *options =
        format == IMAGE_VHD ? "subformat=dynamic,force_size=on" : "preallocation=off";
    const char *const argv[] = {"qemu-img", "create", "-q", "-f", qemu_names[format], "-o", options,
                                "--",       path,     size, NULL};
    if (!child_run(argv, QEMU_IMG_LIMIT_MS, INFO_LIMIT, NULL, err))
        return error_prefix(err, "cannot create %s", path);
    uint64_t made = 0;
    if (!image_size(path, format, &made, err))
        return false;
    if (made != size_bytes)
        return error_set(err, ERROR_UNSUPPORTED,
                         "%s images cannot have %" PRIu64 " bytes, only %" PRIu64,
                         image_format_names[format], size_bytes, made);
    if (fsync(fd) < 0)
        return error_set_errno(err, ERROR_INTERNAL, errno, "%s", path);
    return true;
}

bool image_create(const char *path, enum image_format format, uint64_t size_bytes,
                  struct error *err)
{
    if (!check_size(format, size_bytes, err))
        return false;
    if (format == IMAGE_RAW)
        return create_raw(path, size_bytes, err);
    return create_formatted(path, format, size_bytes, err);
}

/* qemu-img says much more than this table would allow, so its answer is read key by key. */
static bool parse_info(const char *text, const char *path, uint64_t *size_bytes, struct error *err)
{
    json_t *info = json_loads(text, 0, NULL);
    const json_t *size = json_object_get(info, "virtual-size");
    bool has_size = json_is_integer(size) && json_integer_value(size) >= 0;
    if (has_size)
        *size_bytes = (uint64_t)json_integer_value(size);
    json_decref(info);
    if (!has_size)
        return error_set(err, ERROR_INTERNAL, "qemu-img tells no virtual size of %s", path);
    return true;
}

bool image_size(const char *path, enum image_format format, uint64_t *size_bytes, struct error *err)
{
    struct stat info;
    if (stat(path, &info) < 0)
        return error_set_errno(err, errno == ENOENT ? ERROR_NOT_FOUND : ERROR_INTERNAL, errno, "%s",
                               path);
    if (format == IMAGE_RAW && S_ISREG(info.st_mode)) {
        *size_bytes = (uint64_t)info.st_size;
        return true;
    }
    const char *const argv[] = {"qemu-img", "info", "-U", "--output=json", "-f", qemu_names[format],
                                "--",       path,   NULL};
    auto_free char *text = NULL;
    if (!child_run(argv, QEMU_IMG_LIMIT_MS, INFO_LIMIT, &text, err))
        return error_prefix(err, "cannot examine %s", path);
    return parse_info(text, path, size_bytes, err);
}

static bool read_block(int fd, off_t offset, unsigned char out[IMAGE_MARK_BLOCK], struct error *err)
{
    ssize_t got = pread(fd, out, IMAGE_MARK_BLOCK, offset);
    if (got < 0)
        return error_set_errno(err, ERROR_INTERNAL, errno, "cannot read the image");
    return true; /* a short block stays zero at its end */
}

bool image_mark(int fd, enum image_format format, struct image_mark *out, struct error *err)
{
    struct stat info;
    if (fstat(fd, &info) < 0)
        return error_set_errno(err, ERROR_INTERNAL, errno, "fstat");
    memset(out, 0, sizeof *out); /* compared as bytes */
    out->device = info.st_dev;
    out->inode = info.st_ino;
    if (!read_block(fd, 0, out->head, err))
        return false;
    /* A VHD's footer is its last block. */
    if (format == IMAGE_VHD && info.st_size >= IMAGE_MARK_BLOCK)
        return read_block(fd, info.st_size - IMAGE_MARK_BLOCK, out->tail, err);
    return true;
}
