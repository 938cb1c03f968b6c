/* What runs on this host and how its disks are reached. */
#pragma once

#include "agent/hypervisor/hypervisor.h"

bool qemu_inventory_facts(struct hypervisor *hv, struct host_facts *out,
                          struct error *err) must_check;
bool qemu_inventory_list(struct hypervisor *hv, struct domain_list *out,
                         struct error *err) must_check;
bool qemu_inventory_attach(struct hypervisor *hv, const char *uuid, const char *device,
                           struct disk_attach *out, struct error *err) must_check;
