/* The libxl driver, which is loaded only where it is asked for: Xen's libraries are not on every
 * host. */
#pragma once

#include "agent/hypervisor/hypervisor.h"

/* The driver of module crosspool-libxl.so, which is looked for beside the program and in
 * ../lib/crosspool from there. Never NULL: where the module cannot be loaded, the driver's `open`
 * fails and says why. */
const struct hypervisor_driver *driver_module_libxl(void);
