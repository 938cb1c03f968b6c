/* The types of guests that this host can run, and what it can do with each. */
#pragma once

#include "agent/hypervisor/libxl/xen_config.h"
#include "agent/hypervisor/libxl/xen_context.h"

/* Asks Xen; none of it changes while Xen runs. */
bool xen_types_read(struct hypervisor *hv, struct error *err) must_check;
/* NULL when this host cannot run it. */
const struct inventory_guest_type *xen_types_find(const struct hypervisor *hv, enum xen_type type);
