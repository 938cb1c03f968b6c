/* Tap devices of a domain, one per VIF, on the bridges of its configuration. */
#pragma once

#include "agent/hypervisor/qemu/qemu_config.h"
#include "agent/hypervisor/qemu/qemu_host.h"

/* ERROR_NOT_FOUND names the bridge that this host does not have. */
bool qemu_network_check(const struct qemu_config *config, struct error *err) must_check;
bool qemu_network_create(const struct hypervisor *hv, const struct qemu_config *config,
                         struct error *err) must_check;
/* Whatever taps the domain has; none is fine. */
bool qemu_network_remove(const struct hypervisor *hv, const char *uuid,
                         struct error *err) must_check;
