/* A domain's configuration as it travels from driver to driver: libxl's JSON and what the other
 * host must know before it tries, and what it is to do once the domain is its own. */
#pragma once

#include "agent/hypervisor/libxl/xen_config.h"
#include "protocol/cpu_features.h"

struct xen_envelope {
    int version_major, version_minor; /* of the source's Xen */
    struct cpu_features features;
    char *config;    /* libxl's */
    char *autostart; /* the text of xl.cfg that starts the domain at its host's boot; NULL: none */
};

/* Compact JSON; the caller frees. NULL: `config` is no JSON, or `autostart` no UTF-8. */
char *xen_envelope_encode(const struct xen_envelope *envelope);
bool xen_envelope_decode(const char *text, struct xen_envelope *out, struct error *err) must_check;
void xen_envelope_done(struct xen_envelope *envelope);
#define auto_envelope __attribute__((cleanup(xen_envelope_done)))
