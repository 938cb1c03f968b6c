/* Disks; see xen_disk.h. */
#include "agent/hypervisor/libxl/xen_disk.h"

#include "agent/process/child.h"
#include "base/cleanup.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { INFO_MS = 20000, INFO_OUTPUT = 1 << 20, QCOW2_SIZE_AT = 24 };

/* libxl's word, and the QEMU driver that serves it. */
static const struct kind {
    const char *word, *driver;
    enum image_format format;
} kinds[] = {
    {"raw", "raw", IMAGE_RAW},
    {"qcow2", "qcow2", IMAGE_QCOW2},
    {"vhd", "vpc", IMAGE_VHD},
};

static const struct kind *kind_of(const struct xen_disk *disk)
{
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (strcmp(disk->format, kinds[i].word) == 0)
            return &kinds[i];
    return NULL;
}

void xen_disk_block_socket(uint32_t domain, char out[XEN_SOCKET_SIZE])
{
    snprintf(out, XEN_SOCKET_SIZE, "/run/xen/qmp-libxenstat-%u", domain);
}

void xen_disk_libxl_socket(uint32_t domain, char out[XEN_SOCKET_SIZE])
{
    snprintf(out, XEN_SOCKET_SIZE, "/run/xen/qmp-libxl-%u", domain);
}

bool xen_disk_format(const struct xen_disk *disk, enum image_format *out)
{
    const struct kind *kind = kind_of(disk);
    if (kind)
        *out = kind->format;
    return kind != NULL;
}

const char *xen_disk_refusal(const struct xen_disk *disk)
{
    if (!disk->path)
        return "the drive is empty";
    if (disk->is_foreign)
        return "it is served by another domain";
    if (strcmp(disk->backend, "qdisk") != 0)
        return "it is not served by QEMU (its backend is not qdisk)";
    if (!kind_of(disk))
        return "its format is none of raw, qcow2 and vhd";
    return NULL;
}

void xen_disk_node(const struct xen_disk *disk, char out[64])
{
    const struct kind *kind = kind_of(disk);
    snprintf(out, 64, "%s-%s", disk->device, kind ? kind->driver : disk->format);
}

static bool file_size(int fd, uint64_t *size_bytes)
{
    off_t end = lseek(fd, 0, SEEK_END); /* of a block device too */
    *size_bytes = (uint64_t)end;
    return end >= 0;
}

/* The image's header, as it is on disk: size, big-endian, at byte 24 (QEMU's docs/interop/qcow2). A
 * look each few seconds is not worth a process. */
static bool qcow2_size(int fd, uint64_t *size_bytes)
{
    unsigned char header[QCOW2_SIZE_AT + 8];
    uint64_t size;
    if (pread(fd, header, sizeof header, 0) != (ssize_t)sizeof header ||
        memcmp(header, "QFI\xfb", 4) != 0)
        return false;
    memcpy(&size, header + QCOW2_SIZE_AT, sizeof size);
    *size_bytes = be64toh(size);
    return true;
}

/* QEMU's own reading: which of a VHD's two sizes counts depends on who made it. */
static bool vhd_size(const char *path, uint64_t *size_bytes, struct error *err)
{
    const char *const argv[] = {"qemu-img", "info", "-U", "--output=json", "-f", "vpc", path, NULL};
    auto_free char *text = NULL;
    if (!child_run(argv, INFO_MS, INFO_OUTPUT, &text, err))
        return false;
    json_auto_t *info = json_loads(text, 0, NULL);
    const json_t *size = json_object_get(info, "virtual-size");
    if (!json_is_integer(size) || json_integer_value(size) < 0)
        return error_set(err, ERROR_INTERNAL, "no size in qemu-img's answer");
    *size_bytes = (uint64_t)json_integer_value(size);
    return true;
}

bool xen_disk_size(const struct xen_disk *disk, uint64_t *size_bytes, struct error *err)
{
    const struct kind *kind = kind_of(disk);
    auto_close int fd = open(disk->path ? disk->path : "", O_RDONLY | O_CLOEXEC);
    uint64_t size = 0;
    if (fd < 0)
        return error_set_errno(err, ERROR_NOT_FOUND, errno, "image %s of disk %s",
                               disk->path ? disk->path : "(none)", disk->device);
    bool is_known = true;
    if (kind && kind->format == IMAGE_VHD) {
        if (!vhd_size(disk->path, &size, err))
            return error_prefix(err, "image %s of disk %s", disk->path, disk->device);
    } else if (kind && kind->format == IMAGE_QCOW2) {
        is_known = qcow2_size(fd, &size);
    } else {
        is_known = file_size(fd, &size);
    }
    if (!is_known || size > LIMIT_SIZE_BYTES)
        return error_set(err, ERROR_INVALID, "image %s of disk %s: no valid %s image", disk->path,
                         disk->device, disk->format);
    *size_bytes = size;
    return true;
}
