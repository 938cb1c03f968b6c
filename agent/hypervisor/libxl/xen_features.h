/* What a domain was told that its CPU can do, as the words of CPUID that hold features. Xen does
 * not refuse a domain whose features the host lacks: it takes them away, and the guest dies of an
 * invalid opcode. So the driver compares, word by word. */
#pragma once

#include "base/error.h"

#include <jansson.h>
#include <stdint.h>

enum { XEN_FEATURE_WORDS = 26 };

struct xen_features {
    uint32_t words[XEN_FEATURE_WORDS];
};
/* One leaf of a CPUID policy. */
struct xen_leaf {
    uint32_t leaf, subleaf; /* subleaf 0 where the leaf has none */
    uint32_t a, b, c, d;
};

/* Takes what counts of that leaf. */
void xen_features_add(struct xen_features *features, const struct xen_leaf *leaf);
/* An object with a member for each word. New reference. */
json_t *xen_features_encode(const struct xen_features *features);
/* A missing word is 0, an unknown one is refused: this program could not compare it. */
bool xen_features_decode(const json_t *object, struct xen_features *out,
                         struct error *err) must_check;
/* ERROR_UNSUPPORTED, with the first word that differs, when `host` cannot give all of `domain`. */
bool xen_features_check(const struct xen_features *domain, const struct xen_features *host,
                        struct error *err) must_check;
