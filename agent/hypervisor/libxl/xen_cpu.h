/* CPUID policies as Xen keeps them: of a domain, and the most that this host can give. */
#pragma once

#include "agent/hypervisor/libxl/xen_domain.h"
#include "protocol/cpu_features.h"

bool xen_cpu_of_domain(struct hypervisor *hv, uint32_t id, struct cpu_features *out,
                       struct error *err) must_check;
bool xen_cpu_of_host(struct hypervisor *hv, enum xen_type type, struct cpu_features *out,
                     struct error *err) must_check;
