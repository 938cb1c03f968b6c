/* What the driver tells of its host and its domains. */
#pragma once

#include "agent/hypervisor/libxl/xen_context.h"

bool xen_inventory_facts(struct hypervisor *hv, struct host_facts *out, struct error *err);
/* Every domain but the control domain, whoever created it; those without a configuration that can
 * be read say so, and cannot be moved. Not those that are being built or destroyed. */
bool xen_inventory_list(struct hypervisor *hv, struct domain_list *out, struct error *err);
bool xen_inventory_attach(struct hypervisor *hv, const char *uuid, const char *device,
                          struct disk_attach *out, struct error *err);
