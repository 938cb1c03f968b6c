/* Starting a domain from a file of xl, as `xl create` does, but for its daemon: the guard looks
 * after the domain. */
#pragma once

#include "agent/hypervisor/libxl/xen_context.h"

/* libxl's configuration of the domain, by xl itself, whose parser is in no library. */
bool xen_boot_describe(struct hypervisor *hv, const char *path, char **text, char uuid[UUID_SIZE],
                       struct error *err);
/* ERROR_CONFLICT when its UUID or its name is here already. On failure nothing of it remains; what
 * dies in between is finished by the agent that runs, or by the next one. */
bool xen_boot(struct hypervisor *hv, const char *text, struct error *err);
