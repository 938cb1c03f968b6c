/* Formats, node names, sizes, and which disks cannot be mirrored. */
#include "agent/hypervisor/libxl/xen_disk.h"
#include "base/cleanup.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static char some_path[] = "/srv/vm/x";

static struct xen_disk disk_of(const char *format, const char *backend)
{
    struct xen_disk disk = {.device = "xvda", .path = some_path};
    snprintf(disk.format, sizeof disk.format, "%s", format);
    snprintf(disk.backend, sizeof disk.backend, "%s", backend);
    return disk;
}

static void expect_kind(const char *word, enum image_format format, const char *node)
{
    struct xen_disk disk = disk_of(word, "qdisk");
    enum image_format found;
    char name[64];
    cr_assert(xen_disk_format(&disk, &found), "%s", word);
    cr_assert_eq(found, format);
    xen_disk_node(&disk, name);
    cr_assert_str_eq(name, node);
    cr_assert_null(xen_disk_refusal(&disk));
}

Test(xen_disk, a_node_is_named_by_device_and_qemu_driver)
{
    expect_kind("raw", IMAGE_RAW, "xvda-raw");
    expect_kind("qcow2", IMAGE_QCOW2, "xvda-qcow2");
    expect_kind("vhd", IMAGE_VHD, "xvda-vpc");
}

static void expect_refusal(struct xen_disk disk, const char *expected)
{
    const char *refusal = xen_disk_refusal(&disk);
    cr_assert_not_null(refusal, "%s", expected);
    cr_assert(strstr(refusal, expected), "%s", refusal);
}

Test(xen_disk, what_cannot_be_mirrored_says_why)
{
    enum image_format format;
    struct xen_disk qcow = disk_of("qcow", "qdisk");
    struct xen_disk empty = disk_of("empty", "qdisk");
    struct xen_disk foreign = disk_of("raw", "qdisk");
    empty.path = NULL;
    foreign.is_foreign = true;
    expect_refusal(disk_of("raw", "phy"), "not served by QEMU");
    expect_refusal(disk_of("raw", "unknown"), "not served by QEMU");
    expect_refusal(qcow, "format");
    expect_refusal(empty, "empty");
    expect_refusal(foreign, "another domain");
    cr_assert_not(xen_disk_format(&qcow, &format));
}

Test(xen_disk, the_block_layer_has_a_monitor_that_libxl_does_not_use)
{
    char block[XEN_SOCKET_SIZE], own[XEN_SOCKET_SIZE];
    xen_disk_block_socket(12, block);
    xen_disk_libxl_socket(12, own);
    cr_assert_str_eq(block, "/run/xen/qmp-libxenstat-12");
    cr_assert_str_eq(own, "/run/xen/qmp-libxl-12");
}

/* A file of `size` bytes that begins with `head`. */
static void make_image(char path[32], const void *head, size_t head_size, off_t size)
{
    snprintf(path, 32, "/tmp/xen-disk-XXXXXX");
    auto_close int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    cr_assert_eq(ftruncate(fd, size), 0);
    cr_assert_eq(pwrite(fd, head, head_size, 0), (ssize_t)head_size);
}

static bool size_of(const char *format, const void *head, size_t head_size, off_t size,
                    uint64_t *found, struct error *err)
{
    char path[32];
    make_image(path, head, head_size, size);
    struct xen_disk disk = disk_of(format, "qdisk");
    disk.path = path;
    bool ok = xen_disk_size(&disk, found, err);
    unlink(path);
    return ok;
}

Test(xen_disk, a_raw_image_is_as_large_as_its_file)
{
    struct error err;
    uint64_t found = 0;
    cr_assert(size_of("raw", "", 0, 12345 * 512, &found, &err), "%s", err.text);
    cr_assert_eq(found, 12345 * 512);
}

Test(xen_disk, a_qcow2_image_is_as_large_as_its_header_says)
{
    struct error err;
    uint64_t found = 0;
    unsigned char header[32] = {'Q', 'F', 'I', 0xfb, 0, 0, 0, 3};
    header[24 + 3] = 2; /* big-endian: 2 << 32 */
    header[24 + 6] = 1;
    cr_assert(size_of("qcow2", header, sizeof header, 65536, &found, &err), "%s", err.text);
    cr_assert_eq(found, (UINT64_C(2) << 32) + 256);
}

Test(xen_disk, an_image_of_another_format_is_refused)
{
    struct error err;
    uint64_t found = 77;
    cr_assert_not(size_of("qcow2", "conectix", 8, 65536, &found, &err));
    cr_assert_eq(err.code, ERROR_INVALID);
    cr_assert(strstr(err.text, "no valid qcow2 image"), "%s", err.text);
    unsigned char huge[32] = {'Q', 'F', 'I', 0xfb, [24] = 0xff};
    cr_assert_not(size_of("qcow2", huge, sizeof huge, 65536, &found, &err));
    cr_assert_eq(found, 77);
}

Test(xen_disk, a_missing_image_is_named)
{
    struct error err;
    uint64_t found;
    struct xen_disk disk = disk_of("raw", "qdisk");
    cr_assert_not(xen_disk_size(&disk, &found, &err));
    cr_assert_eq(err.code, ERROR_NOT_FOUND);
    cr_assert(strstr(err.text, "/srv/vm/x"), "%s", err.text);
}
