/* What starts a domain at its host's boot, when the domain moves: the entry in the folder of the
 * service xendomains goes with it. The source sends the entry's text with the configuration; the
 * destination keeps it in its state while it restores the domain, and makes an entry of it when the
 * domain is its own. None of it is a reason for a move to fail: what cannot go along is logged. */
#pragma once

#include "agent/hypervisor/libxl/xen_context.h"

/* At the source: the text of the domain's entry; NULL when there is none that can go along. Owned
 * by the caller. */
char *xen_adopt_collect(const char *uuid, const char *config);
/* At the destination, before the domain is built: `config` is what it will be there. */
void xen_adopt_prepare(struct hypervisor *hv, const char *uuid, const char *text,
                       const char *config);
/* The domain is not to come after all, or is gone; nothing prepared is fine. */
bool xen_adopt_forget(struct hypervisor *hv, const char *uuid, struct error *err) must_check;
/* The driver's operations `adopt` and `forget`. */
void xen_adopt(struct hypervisor *hv, const char *uuid);
void xen_adopt_leave(struct hypervisor *hv, const char *uuid, const char *name);
