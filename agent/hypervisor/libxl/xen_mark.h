/* Which domains the guard is in charge of: those whose own toolstack does not watch them, because
 * they came from another host, or because its daemon ends when it sees a suspension, or because the
 * guard made them itself. The mark is a node of xenstore that goes with the domain, and names its
 * UUID: a number is used again. */
#pragma once

#include "agent/hypervisor/libxl/xen_domain.h"

enum xen_mark {
    XEN_UNMARKED,
    XEN_MARK_GUARDED,
    /* Suspended and resumed here: the daemon of its toolstack may watch it still, so it goes first.
     */
    XEN_MARK_RESUMED,
};

bool xen_mark_set(const struct xen_domain *domain, enum xen_mark mark,
                  struct error *err) must_check;
bool xen_mark_get(const struct xen_domain *domain, enum xen_mark *out,
                  struct error *err) must_check;
