/* How libxl's disks look to the block layer: formats, QEMU's node names, sizes. */
#pragma once

#include "agent/hypervisor/libxl/xen_config.h"

/* Where the monitor is that libxl leaves to others (QEMU serves one client at a time on each), and
 * the one that libxl uses itself. */
enum { XEN_SOCKET_SIZE = 64 };
void xen_disk_block_socket(uint32_t domain, char out[XEN_SOCKET_SIZE]);
void xen_disk_libxl_socket(uint32_t domain, char out[XEN_SOCKET_SIZE]);

/* False: a format that no mirror can carry (qcow, qed, unknown). */
bool xen_disk_format(const struct xen_disk *disk, enum image_format *out);
/* NULL, or why the disk's writes cannot be mirrored. */
const char *xen_disk_refusal(const struct xen_disk *disk);
/* "<vdev>-<driver>" of QEMU's xen-block device. */
void xen_disk_node(const struct xen_disk *disk, char out[64]);
/* Virtual size. The domain may be running. */
bool xen_disk_size(const struct xen_disk *disk, uint64_t *size_bytes, struct error *err) must_check;
