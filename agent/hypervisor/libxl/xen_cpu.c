/* Policies through libxenctrl; see xen_cpu.h. */
#include "agent/hypervisor/libxl/xen_cpu.h"

#include "base/cleanup.h"
#include "base/memory.h"

#include <errno.h>
#include <xenctrl.h>
#include <xenguest.h>

static void take_leaves(const xen_cpuid_leaf_t *leaves, uint32_t count, struct cpu_features *out)
{
    *out = (struct cpu_features){0};
    for (uint32_t i = 0; i < count; i++) {
        const xen_cpuid_leaf_t *from = &leaves[i];
        uint32_t subleaf = from->subleaf == XEN_CPUID_NO_SUBLEAF ? 0 : from->subleaf;
        const struct cpu_leaf leaf = {.leaf = from->leaf,
                                      .subleaf = subleaf,
                                      .a = from->a,
                                      .b = from->b,
                                      .c = from->c,
                                      .d = from->d};
        cpu_features_add(out, &leaf);
    }
}

static bool serialise(xc_interface *xc, const xc_cpu_policy_t *policy, struct cpu_features *out,
                      struct error *err)
{
    uint32_t leaf_count = 0, msr_count = 0;
    if (xc_cpu_policy_get_size(xc, &leaf_count, &msr_count))
        return error_set_errno(err, ERROR_INTERNAL, errno, "size of a CPU policy");
    auto_free xen_cpuid_leaf_t *leaves = memory_array(leaf_count + 1, sizeof *leaves);
    auto_free xen_msr_entry_t *msrs = memory_array(msr_count + 1, sizeof *msrs);
    if (xc_cpu_policy_serialise(xc, policy, leaves, &leaf_count, msrs, &msr_count))
        return error_set_errno(err, ERROR_INTERNAL, errno, "reading a CPU policy");
    take_leaves(leaves, leaf_count, out);
    return true;
}

/* `id` of a domain, or an index of the system's policies. */
static bool read_policy(struct hypervisor *hv, bool is_domain, uint32_t id,
                        struct cpu_features *out, struct error *err)
{
    xc_interface *xc = xc_interface_open(&hv->main.logger.vtable, &hv->main.logger.vtable, 0);
    if (!xc)
        return error_set_errno(err, ERROR_INTERNAL, errno, "Xen's control interface");
    xc_cpu_policy_t *policy = xc_cpu_policy_init();
    bool is_read = policy && (is_domain ? xc_cpu_policy_get_domain(xc, id, policy)
                                        : xc_cpu_policy_get_system(xc, id, policy)) == 0;
    if (!is_read)
        error_set_errno(err, ERROR_INTERNAL, errno, "Xen's CPU policy");
    bool ok = is_read && serialise(xc, policy, out, err);
    xc_cpu_policy_destroy(policy);
    xc_interface_close(xc);
    return ok;
}

bool xen_cpu_of_domain(struct hypervisor *hv, uint32_t id, struct cpu_features *out,
                       struct error *err)
{
    return read_policy(hv, true, id, out, err) ||
           error_prefix(err, "CPU policy of domain number %u", id);
}

bool xen_cpu_of_host(struct hypervisor *hv, enum xen_type type, struct cpu_features *out,
                     struct error *err)
{
    uint32_t index = type == XEN_PV ? XEN_SYSCTL_cpu_policy_pv_max : XEN_SYSCTL_cpu_policy_hvm_max;
    return read_policy(hv, false, index, out, err) || error_prefix(err, "CPU policy of this host");
}
