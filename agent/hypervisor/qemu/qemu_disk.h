/* A domain's disks outside its QEMU: their sizes, and the block servers of VHD disks. QEMU's vpc
 * driver forbids migration, so a VHD image is opened by a qemu-storage-daemon of its own and
 * reaches the domain's QEMU through a local socket. */
#pragma once

#include "agent/hypervisor/qemu/qemu_config.h"
#include "agent/hypervisor/qemu/qemu_host.h"

/* Virtual size of an image that may be in use. */
bool qemu_disk_size(const struct qemu_disk *disk, uint64_t *size_bytes,
                    struct error *err) must_check;
/* Sockets and pid files of the servers of all VHD disks. With `is_placeholder` they serve disks of
 * the right sizes without opening the images, which somebody else still writes: enough for a QEMU
 * that waits for its memory. Servers that live already are kept. */
bool qemu_disk_serve(const struct hypervisor *hv, const struct qemu_config *config,
                     bool is_placeholder, struct error *err) must_check;
/* Ends them; they flush and release their images. QEMU connects again by itself when they are back.
 */
bool qemu_disk_release(const struct hypervisor *hv, const struct qemu_config *config,
                       struct error *err) must_check;
/* Whatever servers have pid files in the domain's folder. */
bool qemu_disk_release_all(const struct hypervisor *hv, const char *uuid,
                           struct error *err) must_check;
