/* A second process that reads a live qcow2 or VHD image for the copier (qemu-nbd). It must be
 * opened while the guest is stopped at the snapshot point: what it needs of the image's metadata is
 * on the disk at that moment, and what comes later is mirrored. */
#pragma once

#include "agent/hypervisor/hypervisor.h"
#include "agent/mirror/monitor.h"
#include "agent/process/child.h"

/* Refuses what cannot be read so without errors: a backing file or an internal snapshot (wrong data
 * without an error), compressed clusters (read errors). Takes time; not in the stop. */
bool image_reader_check(struct monitor *monitor, const struct disk_attach *attach,
                        struct error *err) must_check;
bool image_reader_start(const struct disk_attach *attach, const char *socket_path,
                        const char *log_path, struct child **out, struct error *err) must_check;
