/* One domain as Xen sees it now, and the talks with its QEMU. */
#pragma once

#include "agent/hypervisor/libxl/xen_config.h"
#include "agent/hypervisor/libxl/xen_context.h"

struct xen_domain {
    uint32_t id;
    char uuid[UUID_SIZE];
    enum xen_type type;
    bool is_paused;    /* by the toolstack */
    bool is_suspended; /* by itself, asked to by a save */
    enum xen_ending ending;
    enum domain_state state;
    uint64_t memory_bytes;
};

/* ERROR_NOT_FOUND when no domain of that UUID lives on this host. */
bool xen_domain_find(struct hypervisor *hv, const char *uuid, struct xen_domain *out,
                     struct error *err) must_check;
/* The same domain again, by its number. */
bool xen_domain_look(struct hypervisor *hv, uint32_t id, struct xen_domain *out,
                     struct error *err) must_check;
/* All but the control domain and those that are dying; *out is owned by the caller. */
bool xen_domain_list(struct hypervisor *hv, struct xen_domain **out, size_t *count,
                     struct error *err) must_check;
/* libxl's JSON. `stored`: as the domain was made and changed by libxl since, cheap; `live`: as
 * `xl migrate` sends it, which may ask the domain's QEMU. *text is owned by the caller. */
bool xen_domain_stored_config(struct hypervisor *hv, uint32_t id, char **text,
                              struct error *err) must_check;
bool xen_domain_live_config(struct hypervisor *hv, uint32_t id, char **text,
                            struct error *err) must_check;
/* Does a QEMU belong to the domain? A PV or PVH domain without qdisk has none. */
bool xen_domain_has_qemu(uint32_t id);
/* Has it ended, for sure? Its disks are lost then. */
bool xen_domain_has_lost_qemu(uint32_t id);
/* "stop" or "cont", through libxl, which shares QEMU's monitor with nobody else. Also where the
 * guest does not run, "stop" drains and flushes the block layer. */
bool xen_domain_tell_qemu(struct hypervisor *hv, uint32_t id, const char *command,
                          struct error *err) must_check;
/* Every domain of that UUID, half-built ones too; absent is fine. */
bool xen_domain_destroy(struct hypervisor *hv, const char *uuid, struct error *err) must_check;
