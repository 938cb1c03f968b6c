/* The table of feature words; see xen_features.h. */
#include "agent/hypervisor/libxl/xen_features.h"

#include <string.h>

enum compare {
    COMPARE_BITS,  /* the host needs every bit of the domain */
    COMPARE_LEAST, /* the host needs at least the domain's number */
    COMPARE_SAME,
};

/* Words: Xen's public/arch-x86/cpufeatureset.h; leaves 0xd: the state components of XSAVE, without
 * which a guest's XCR0 cannot be loaded. `ignored`: bits that change while a guest runs (OSXSAVE,
 * OSPKE), that the toolstack sets by the domain's topology (HTT, CMP_LEGACY), or that AMD repeats
 * from word 1d, which Xen does in a domain's policy and not in the host's. */
static const struct feature_word {
    const char *name;
    uint32_t leaf, subleaf;
    char part;
    enum compare compare;
    uint32_t ignored;
} words[] = {
    {"vendor-b", 0x0, 0, 'b', COMPARE_SAME, 0},
    {"vendor-c", 0x0, 0, 'c', COMPARE_SAME, 0},
    {"vendor-d", 0x0, 0, 'd', COMPARE_SAME, 0},
    {"basic-leaves", 0x0, 0, 'a', COMPARE_LEAST, 0},
    {"extended-leaves", 0x80000000, 0, 'a', COMPARE_LEAST, 0},
    {"7-subleaves", 0x7, 0, 'a', COMPARE_LEAST, 0},
    {"1d", 0x1, 0, 'd', COMPARE_BITS, 1U << 28},
    {"1c", 0x1, 0, 'c', COMPARE_BITS, 1U << 27},
    {"e1d", 0x80000001, 0, 'd', COMPARE_BITS, 0x0183f3ff},
    {"e1c", 0x80000001, 0, 'c', COMPARE_BITS, 1U << 1},
    {"Da1", 0xd, 1, 'a', COMPARE_BITS, 0},
    {"7b0", 0x7, 0, 'b', COMPARE_BITS, 0},
    {"7c0", 0x7, 0, 'c', COMPARE_BITS, 1U << 4},
    {"e7d", 0x80000007, 0, 'd', COMPARE_BITS, 0},
    {"e8b", 0x80000008, 0, 'b', COMPARE_BITS, 0},
    {"7d0", 0x7, 0, 'd', COMPARE_BITS, 0},
    {"7a1", 0x7, 1, 'a', COMPARE_BITS, 0},
    {"e21a", 0x80000021, 0, 'a', COMPARE_BITS, 0},
    {"7b1", 0x7, 1, 'b', COMPARE_BITS, 0},
    {"7d2", 0x7, 2, 'd', COMPARE_BITS, 0},
    {"7c1", 0x7, 1, 'c', COMPARE_BITS, 0},
    {"7d1", 0x7, 1, 'd', COMPARE_BITS, 0},
    {"Da0", 0xd, 0, 'a', COMPARE_BITS, 0},
    {"Dd0", 0xd, 0, 'd', COMPARE_BITS, 0},
    {"Dc1", 0xd, 1, 'c', COMPARE_BITS, 0},
    {"Dd1", 0xd, 1, 'd', COMPARE_BITS, 0},
};
_Static_assert(sizeof words / sizeof words[0] == XEN_FEATURE_WORDS, "one line for each word");

static uint32_t part_of(const struct xen_leaf *leaf, char part)
{
    switch (part) {
    case 'a':
        return leaf->a;
    case 'b':
        return leaf->b;
    case 'c':
        return leaf->c;
    default:
        return leaf->d;
    }
}

void xen_features_add(struct xen_features *features, const struct xen_leaf *leaf)
{
    for (size_t i = 0; i < XEN_FEATURE_WORDS; i++)
        if (words[i].leaf == leaf->leaf && words[i].subleaf == leaf->subleaf)
            features->words[i] = part_of(leaf, words[i].part);
}

json_t *xen_features_encode(const struct xen_features *features)
{
    json_t *object = json_object();
    for (size_t i = 0; i < XEN_FEATURE_WORDS; i++)
        json_object_set_new(object, words[i].name, json_integer(features->words[i]));
    return object;
}

static bool take_word(const char *name, const json_t *value, struct xen_features *out,
                      struct error *err)
{
    json_int_t number = json_integer_value(value);
    for (size_t i = 0; i < XEN_FEATURE_WORDS; i++) {
        if (strcmp(words[i].name, name) != 0)
            continue;
        if (!json_is_integer(value) || number < 0 || number > UINT32_MAX)
            return error_set(err, ERROR_INVALID, "CPU word %s: expected 32 bits", name);
        out->words[i] = (uint32_t)number;
        return true;
    }
    return error_set(err, ERROR_UNSUPPORTED,
                     "the domain's CPU word %s is not known here: the source's agent is newer",
                     name);
}

bool xen_features_decode(const json_t *object, struct xen_features *out, struct error *err)
{
    struct xen_features features = {0};
    const char *name;
    json_t *value;
    if (!json_is_object(object))
        return error_set(err, ERROR_INVALID, "CPU features: expected an object");
    json_object_foreach((json_t *)object, name,
                        value) if (!take_word(name, value, &features, err)) return false;
    *out = features;
    return true;
}

bool xen_features_check(const struct xen_features *domain, const struct xen_features *host,
                        struct error *err)
{
    for (size_t i = 0; i < XEN_FEATURE_WORDS; i++) {
        uint32_t wanted = domain->words[i] & ~words[i].ignored, had = host->words[i];
        uint32_t missing = wanted & ~had;
        if (words[i].compare == COMPARE_BITS && missing)
            return error_set(err, ERROR_UNSUPPORTED,
                             "this host's CPU lacks features of the domain: word %s, bits 0x%08x",
                             words[i].name, missing);
        if ((words[i].compare == COMPARE_LEAST && wanted > had) ||
            (words[i].compare == COMPARE_SAME && wanted != had))
            return error_set(err, ERROR_UNSUPPORTED,
                             "this host's CPU does not suit the domain: word %s is 0x%08x, "
                             "expected %s0x%08x",
                             words[i].name, had,
                             words[i].compare == COMPARE_SAME ? "" : "at least ", wanted);
    }
    return true;
}
