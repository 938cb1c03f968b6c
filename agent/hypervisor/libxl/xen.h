/* The libxenlight driver. It is a module, crosspool-libxl.so, that the agent loads where its host
 * runs Xen: the agent itself needs no Xen library. */
#pragma once

#include "agent/hypervisor/hypervisor.h"

extern const struct hypervisor_driver libxl_driver;
