/* Building a domain from another host's stream. */
#pragma once

#include "agent/hypervisor/libxl/xen_context.h"

/* What `xen_restore` understands: libxl's configuration, Xen's version, the domain's CPU. */
bool xen_restore_config(struct hypervisor *hv, const char *uuid, char **text, struct error *err);
bool xen_restore(struct hypervisor *hv, const char *uuid, const char *config,
                 const struct restore_map *map, int fd, struct error *err);
