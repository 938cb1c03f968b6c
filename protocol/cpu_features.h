/* What a guest was told that its CPU can do, and the most that a host can tell one: the words of
 * CPUID that hold features, and what a host lacks of a guest. Xen does not refuse a guest whose
 * features the host lacks: it takes them away, and the guest dies of an invalid opcode. */
#pragma once

#include "base/error.h"

#include <stdint.h>

enum { CPU_FEATURE_WORDS = 26 };

struct cpu_features {
    uint32_t words[CPU_FEATURE_WORDS];
};
/* One leaf of a CPUID policy. */
struct cpu_leaf {
    uint32_t leaf, subleaf; /* subleaf 0 where the leaf has none */
    uint32_t a, b, c, d;
};

/* Takes what counts of that leaf. */
void cpu_features_add(struct cpu_features *features, const struct cpu_leaf *leaf);
/* As text: "1d=078bfbff 1c=00002001 ...", words that are 0 left out; at most LIMIT_FEATURES bytes.
 * The caller frees. */
char *cpu_features_encode(const struct cpu_features *features);
/* A missing word is 0, an unknown one is ERROR_UNSUPPORTED: this program could not compare it. */
bool cpu_features_decode(const char *text, struct cpu_features *out, struct error *err) must_check;
/* What both can tell a guest, into `out`. False when they have nothing in common: other vendors. */
bool cpu_features_common(const struct cpu_features *one, const struct cpu_features *other,
                         struct cpu_features *out);
/* How many things `host` lacks to run `guest`; `names` lists as many of them as it has room for, by
 * the names that xen-cpuid uses ("sse3, cx16"), then "... and 3 more". */
int cpu_features_missing(const struct cpu_features *guest, const struct cpu_features *host,
                         char *names, size_t size);
