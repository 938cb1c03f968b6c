/* The QEMU driver beyond hypervisor.h. */
#pragma once

#include "base/error.h"

struct hypervisor;

/* Starts a domain from its description (ARCHITECTURE.md, "A domain of the qemu driver").
 * ERROR_CONFLICT when it lives already; one that has ended is started anew. On failure nothing of
 * it remains. */
bool qemu_boot(struct hypervisor *hv, const char *domain_json, struct error *err) must_check;
