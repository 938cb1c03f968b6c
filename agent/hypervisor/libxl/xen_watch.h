/* Notices domains that come, go or end: xenstored tells by its watches @introduceDomain and
 * @releaseDomain. One thread listens, so that it is never late to see how a guest ended; another
 * is the guard's (xen_guard.h), which may take seconds over one domain. */
#pragma once

#include "agent/hypervisor/libxl/xen_context.h"

/* hypervisor_driver.watch */
bool xen_watch(struct hypervisor *hv, const struct domain_watch *calls,
               struct error *err) must_check;
/* Ends the threads; an act of the guard that is under way is waited for. */
void xen_watch_close(struct hypervisor *hv);
