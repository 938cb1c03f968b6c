/* The runs of guests: a run is one QEMU, which a guest that reboots stays in, and which ends when
 * the guest powers off. */
#pragma once

#include "agent/hypervisor/hypervisor.h"

/* hypervisor_driver.guest_run. How a QEMU that is not there ended is not known. */
bool qemu_run_find(struct hypervisor *hv, const char *uuid, const char *id, struct guest_run *out,
                   struct error *err) must_check;
