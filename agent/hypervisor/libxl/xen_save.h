/* Streaming a domain out, and taking it back. */
#pragma once

#include "agent/hypervisor/libxl/xen_context.h"

bool xen_save(struct hypervisor *hv, const char *uuid, bool is_live, int fd,
              const struct save_hooks *hooks, bool *is_suspended, struct error *err);
/* After a save, whatever came of it, and after an agent that died in one. Safe to repeat. */
bool xen_save_undo(struct hypervisor *hv, const char *uuid, struct error *err);
