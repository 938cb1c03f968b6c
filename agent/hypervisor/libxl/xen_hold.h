/* Holding a domain's vCPUs for a moment. A file says which domains the agent holds, so that a
 * restarted agent releases those and no other: a domain that a person paused stays paused. */
#pragma once

#include "agent/hypervisor/libxl/xen_domain.h"

bool xen_hold(struct hypervisor *hv, const char *uuid, struct error *err) must_check;
bool xen_hold_release(struct hypervisor *hv, const char *uuid, struct error *err) must_check;
/* The domain is gone from this host. */
bool xen_hold_forget(struct hypervisor *hv, const char *uuid, struct error *err) must_check;
