/* Starting a guest by its record (xen_restart.h), from whatever point an agent that died left it
 * at. The caller holds the lock of the records. */
#pragma once

#include "agent/hypervisor/libxl/xen_domain.h"

/* Does what is left to do, and removes the record: the guest runs in a new domain, or somebody else
 * has started it, or there is nothing to start. */
bool xen_start_finish(struct hypervisor *hv, struct xen_restart *restart,
                      struct error *err) must_check;
/* One domain by its number; absent is fine. */
bool xen_start_destroy(struct hypervisor *hv, uint32_t id, struct error *err) must_check;
