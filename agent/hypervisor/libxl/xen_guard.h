/* The guard: does for the marked domains (xen_mark.h) what the daemon of `xl create` does for its
 * own: when the guest ends, what the domain's configuration wants then. A suspension is no end.
 *
 *   destroy          destroyed
 *   restart          destroyed, and created anew with the same configuration and UUID
 *   rename-restart   renamed, which frees name and UUID, and created anew
 *   preserve         left alone, by the guard too
 *
 * One thread; a record (xen_restart.h) leads each restart from before its first act to its end. */
#pragma once

#include "agent/hypervisor/libxl/xen_context.h"

enum { XEN_GUARD_WAITING = 64 };

struct xen_guard {
    struct hypervisor *hv;
    /* No migration needs the domain as it is. */
    bool (*may_restart)(void *context, const char *uuid);
    void *context;

    int retry_ms; /* 0: the last turn had no failure */
    bool is_pending, has_failed;
    struct xen_guard_seen { /* ended domains whose own daemon may act first */
        uint32_t id;
        int64_t since_ms;
    } seen[XEN_GUARD_WAITING];
    size_t next_seen;
};

/* Acts on what it finds. Returns after how many ms it is to look again if nothing happens. */
int xen_guard_turn(struct xen_guard *guard);
