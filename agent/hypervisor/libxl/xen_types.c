/* Guest types; see xen_types.h. */
#include "agent/hypervisor/libxl/xen_types.h"

#include "agent/hypervisor/libxl/xen_cpu.h"
#include "base/cleanup.h"

#include <stdio.h>
#include <string.h>

static bool add_type(struct hypervisor *hv, enum xen_type type, const char *why_not_live,
                     struct error *err)
{
    struct inventory_guest_type *out = &hv->types[hv->type_count];
    struct cpu_features features;
    if (!xen_cpu_of_host(hv, type, &features, err))
        return false;
    auto_free char *text = cpu_features_encode(&features);
    *out = (struct inventory_guest_type){.is_live = !why_not_live};
    snprintf(out->type, sizeof out->type, "%s", xen_type_names[type]);
    snprintf(out->why_not_live, sizeof out->why_not_live, "%s", why_not_live ? why_not_live : "");
    snprintf(out->features, sizeof out->features, "%s", text);
    hv->type_count++;
    return true;
}

/* A live save needs Xen to see which pages a guest writes: in the tables of hardware-assisted
 * paging, which PV guests do not have, or in shadow page tables. */
static bool add_types(struct hypervisor *hv, const libxl_physinfo *info, struct error *err)
{
    const char *pv = info->cap_shadow ? NULL : "this Xen has no shadow paging";
    const char *other = info->cap_hap || info->cap_shadow
                            ? NULL
                            : "this Xen has neither hardware-assisted nor shadow paging";
    return (!info->cap_pv || add_type(hv, XEN_PV, pv, err)) &&
           (!info->cap_hvm ||
            (add_type(hv, XEN_PVH, other, err) && add_type(hv, XEN_HVM, other, err)));
}

bool xen_types_read(struct hypervisor *hv, struct error *err)
{
    libxl_physinfo info;
    libxl_physinfo_init(&info);
    xen_begin();
    int rc = libxl_get_physinfo(hv->main.ctx, &info);
    bool is_read = rc ? xen_failed(rc, err, "Xen's capabilities, is this the control domain")
                      : add_types(hv, &info, err);
    libxl_physinfo_dispose(&info);
    return is_read;
}

const struct inventory_guest_type *xen_types_find(const struct hypervisor *hv, enum xen_type type)
{
    for (size_t i = 0; i < hv->type_count; i++)
        if (strcmp(hv->types[i].type, xen_type_names[type]) == 0)
            return &hv->types[i];
    return NULL;
}
