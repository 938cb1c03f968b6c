/* Building and removing the whole of one domain on this host. */
#pragma once

#include "agent/hypervisor/qemu/qemu_config.h"
#include "agent/hypervisor/qemu/qemu_host.h"

/* What can be wrong before anything is made: bridges, images (fills in their sizes, which must
 * match where they are known), kernel, room for the memory. */
bool qemu_domain_check(const struct hypervisor *hv, struct qemu_config *config,
                       struct error *err) must_check;
/* Makes folder, description, memory file, taps, VHD servers and starts QEMU, stopped. The memory
 * file is allocated in full: a guest must not die of a full host later. On failure the caller
 * removes. */
bool qemu_domain_create(const struct hypervisor *hv, const struct qemu_config *config,
                        bool is_incoming, struct error *err) must_check;
/* Ends and removes all of it, whatever is there. */
bool qemu_domain_remove(const struct hypervisor *hv, const char *uuid,
                        struct error *err) must_check;
/* ERROR_NOT_FOUND when there is no such domain. Release with qemu_config_done. */
bool qemu_domain_load(const struct hypervisor *hv, const char *uuid, struct qemu_config *config,
                      struct error *err) must_check;
bool qemu_domain_is_alive(const struct hypervisor *hv, const char *uuid);
