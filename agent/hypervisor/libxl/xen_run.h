/* The runs of guests on Xen: a run is one domain of one boot of the host. A domain is seen for a
 * moment at least after its guest ended; how it did is remembered from then on. */
#pragma once

#include "agent/hypervisor/libxl/xen_domain.h"

/* This boot of the host. */
bool xen_run_read_boot(char out[XEN_BOOT_SIZE], struct error *err) must_check;
/* Notes a domain that was seen, also one that is dying. */
void xen_run_note(struct hypervisor *hv, const struct xen_domain *domain);
/* hypervisor_driver.guest_run */
bool xen_run_find(struct hypervisor *hv, const char *uuid, const char *id, struct guest_run *out,
                  struct error *err) must_check;
