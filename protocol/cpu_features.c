/* The table of feature words; see cpu_features.h. */
#include "protocol/cpu_features.h"

#include "base/memory.h"
#include "protocol/vocabulary.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum compare {
    COMPARE_BITS,  /* the host needs every bit of the guest */
    COMPARE_LEAST, /* the host needs at least the guest's number */
    COMPARE_SAME,
};

/* Words: Xen's public/arch-x86/cpufeatureset.h; leaves 0xd: the state components of XSAVE, without
 * which a guest's XCR0 cannot be loaded. `ignored`: bits that change while a guest runs (OSXSAVE,
 * OSPKE), that the toolstack sets by the guest's topology (HTT, CMP_LEGACY), or that AMD repeats
 * from word 1d, which Xen does in a guest's policy and not in the host's. `bits`: Xen's names from
 * bit 0 on, "-" where there is none; what follows has none. */
static const struct feature_word {
    const char *name;
    uint32_t leaf, subleaf;
    char part;
    enum compare compare;
    uint32_t ignored;
    const char *bits;
} words[] = {
    {"vendor-b", 0x0, 0, 'b', COMPARE_SAME, 0, ""},
    {"vendor-c", 0x0, 0, 'c', COMPARE_SAME, 0, ""},
    {"vendor-d", 0x0, 0, 'd', COMPARE_SAME, 0, ""},
    {"basic-leaves", 0x0, 0, 'a', COMPARE_LEAST, 0, ""},
    {"extended-leaves", 0x80000000, 0, 'a', COMPARE_LEAST, 0, ""},
    {"7-subleaves", 0x7, 0, 'a', COMPARE_LEAST, 0, ""},
    {"1d", 0x1, 0, 'd', COMPARE_BITS, 1U << 28,
     "fpu vme de pse tsc msr pae mce cx8 apic - sysenter mtrr pge mca cmov pat pse36 psn clflush - "
     "ds acpi mmx fxsr sse sse2 ss htt tm ia64 pbe"},
    {"1c", 0x1, 0, 'c', COMPARE_BITS, 1U << 27,
     "sse3 pclmulqdq dtes64 monitor ds-cpl vmx smx est tm2 ssse3 cntx-id sdgb fma cx16 xtpr pdcm - "
     "pcid dca sse41 sse42 x2apic movebe popcnt tsc-dl aesni xsave osxsave avx f16c rdrnd hyper"},
    {"e1d", 0x80000001, 0, 'd', COMPARE_BITS, 0x0183f3ff,
     "fpu vme de pse tsc msr pae mce cx8 apic - syscall mtrr pge mca cmov fcmov pse36 - mp nx - "
     "mmx+ mmx fxsr fxsr+ pg1g rdtscp - lm 3dnow+ 3dnow"},
    {"e1c", 0x80000001, 0, 'c', COMPARE_BITS, 1U << 1,
     "lahf_lm cmp svm extapic cr8d lzcnt sse4a msse 3dnowpf osvw ibs xop skinit wdt - lwp fma4 tce "
     "- nodeid - tbm topoext perfctr_core perfctr_nb - dbx perftsc pcx_l2i monitorx"},
    {"Da1", 0xd, 1, 'a', COMPARE_BITS, 0, "xsaveopt xsavec xgetbv1 xsaves"},
    {"7b0", 0x7, 0, 'b', COMPARE_BITS, 0,
     "fsgsbase tsc-adj sgx bmi1 hle avx2 fdp_exn smep bmi2 erms invpcid rtm pqm depfpp mpx pqe "
     "avx512f avx512dq rdseed adx smap avx512-ifma pcommit clflushopt clwb pt avx512pf avx512er "
     "avx512cd sha avx512bw avx512vl"},
    {"7c0", 0x7, 0, 'c', COMPARE_BITS, 1U << 4,
     "prefetchwt1 avx512_vbmi umip pku ospke waitpkg avx512_vbmi2 cet-ss gfni vaes vpclmulqdq "
     "avx512_vnni avx512_bitalg - avx512_vpopcntdq - - - - - - - rdpid - - cldemote - movdiri "
     "movdir64b - sgx_lc"},
    {"e7d", 0x80000007, 0, 'd', COMPARE_BITS, 0, "- - - - - - - - itsc - efro"},
    {"e8b", 0x80000008, 0, 'b', COMPARE_BITS, 0,
     "clzero - rstr-fp-err-ptrs - - - - - - wbnoinvd - - ibpb - ibrs amd-stibp ibrs-always "
     "stibp-always ibrs-fast ibrs-same-mode - - - ppin amd-ssbd virt-ssbd ssb-no - psfd btc-no "
     "ibpb-ret"},
    {"7d0", 0x7, 0, 'd', COMPARE_BITS, 0,
     "- - avx512_4vnniw avx512_4fmaps fsrm - - - - srbds-ctrl md-clear rtm-always-abort - "
     "tsx-force-abort serialize - tsxldtrk - pconfig - cet-ibt - - - - - ibrsb stibp l1d_flush "
     "arch_caps core_caps ssbd"},
    {"7a1", 0x7, 1, 'a', COMPARE_BITS, 0, "- - - - avx-vnni avx512_bf16"},
    {"e21a", 0x80000021, 0, 'a', COMPARE_BITS, 0, "- - lfence+"},
    {"7b1", 0x7, 1, 'b', COMPARE_BITS, 0, ""},
    {"7d2", 0x7, 2, 'd', COMPARE_BITS, 0, "intel-psfd"},
    {"7c1", 0x7, 1, 'c', COMPARE_BITS, 0, ""},
    {"7d1", 0x7, 1, 'd', COMPARE_BITS, 0, ""},
    {"Da0", 0xd, 0, 'a', COMPARE_BITS, 0, ""},
    {"Dd0", 0xd, 0, 'd', COMPARE_BITS, 0, ""},
    {"Dc1", 0xd, 1, 'c', COMPARE_BITS, 0, ""},
    {"Dd1", 0xd, 1, 'd', COMPARE_BITS, 0, ""},
};
_Static_assert(sizeof words / sizeof words[0] == CPU_FEATURE_WORDS, "one line for each word");

static uint32_t part_of(const struct cpu_leaf *leaf, char part)
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

void cpu_features_add(struct cpu_features *features, const struct cpu_leaf *leaf)
{
    for (size_t i = 0; i < CPU_FEATURE_WORDS; i++)
        if (words[i].leaf == leaf->leaf && words[i].subleaf == leaf->subleaf)
            features->words[i] = part_of(leaf, words[i].part);
}

/* -- as text */

char *cpu_features_encode(const struct cpu_features *features)
{
    char text[LIMIT_FEATURES + 1] = "";
    size_t length = 0;
    for (size_t i = 0; i < CPU_FEATURE_WORDS; i++)
        if (features->words[i])
            length += (size_t)snprintf(text + length, sizeof text - length, "%s%s=%08" PRIx32,
                                       length ? " " : "", words[i].name, features->words[i]);
    return memory_copy_text(text);
}

/* `text` is one "word=hex" of `length` bytes. */
static bool take_word(const char *text, size_t length, struct cpu_features *out, struct error *err)
{
    size_t name = strcspn(text, "= ");
    size_t digits = name < length ? strspn(text + name + 1, "0123456789abcdef") : 0;
    if (name == 0 || text[name] != '=' || digits == 0 || digits > 8 || name + 1 + digits != length)
        return error_set(err, ERROR_INVALID, "CPU features: expected word=hex, not \"%.*s\"",
                         (int)(length < 40 ? length : 40), text);
    for (size_t i = 0; i < CPU_FEATURE_WORDS; i++) {
        if (strlen(words[i].name) != name || memcmp(words[i].name, text, name) != 0)
            continue;
        out->words[i] = (uint32_t)strtoul(text + name + 1, NULL, 16);
        return true;
    }
    return error_set(err, ERROR_UNSUPPORTED,
                     "CPU word %.*s is not known here: the agent that told it is newer",
                     (int)(name < 40 ? name : 40), text);
}

bool cpu_features_decode(const char *text, struct cpu_features *out, struct error *err)
{
    struct cpu_features features = {0};
    while (*text) {
        size_t length = strcspn(text, " ");
        if (!take_word(text, length, &features, err))
            return false;
        text += length;
        text += *text == ' ';
    }
    *out = features;
    return true;
}

/* -- compared */

struct names {
    char *text;
    size_t size, length;
    int named, found;
};

/* As long as there is room for it and for "... and 99 more" behind it. */
static void add_name(struct names *names, const char *name)
{
    enum { ROOM_FOR_REST = 20 };
    names->found++;
    size_t length = strlen(name) + (names->named ? 2 : 0);
    if (names->named + 1 < names->found || names->length + length + ROOM_FOR_REST > names->size)
        return;
    names->length += (size_t)snprintf(names->text + names->length, names->size - names->length,
                                      "%s%s", names->named ? ", " : "", name);
    names->named++;
}

static void add_bit(struct names *names, const struct feature_word *word, int bit)
{
    char name[64];
    const char *at = word->bits;
    for (int i = 0; i < bit && *at; i++) {
        at += strcspn(at, " ");
        at += *at == ' ';
    }
    int length = (int)strcspn(at, " ");
    if (length == 0 || *at == '-')
        snprintf(name, sizeof name, "word %s bit %d", word->name, bit);
    else
        snprintf(name, sizeof name, "%.*s", length, at);
    add_name(names, name);
}

static void add_bits(struct names *names, const struct feature_word *word, uint32_t missing)
{
    for (int bit = 0; bit < 32; bit++)
        if (missing & 1U << bit)
            add_bit(names, word, bit);
}

static void add_number(struct names *names, const struct feature_word *word, uint32_t wanted)
{
    char name[64];
    snprintf(name, sizeof name, "%s%s 0x%08" PRIx32, word->name,
             word->compare == COMPARE_LEAST ? " up to" : "", wanted);
    add_name(names, name);
}

int cpu_features_missing(const struct cpu_features *guest, const struct cpu_features *host,
                         char *text, size_t size)
{
    struct names names = {.text = text, .size = size};
    text[0] = '\0';
    for (size_t i = 0; i < CPU_FEATURE_WORDS; i++) {
        const struct feature_word *word = &words[i];
        uint32_t wanted = guest->words[i] & ~word->ignored, had = host->words[i];
        if (word->compare == COMPARE_BITS)
            add_bits(&names, word, wanted & ~had);
        else if (word->compare == COMPARE_LEAST ? wanted > had : wanted != had)
            add_number(&names, word, wanted);
    }
    if (names.named < names.found)
        snprintf(text + names.length, size - names.length, "%s%d more", names.named ? " and " : "",
                 names.found - names.named);
    return names.found;
}

/* -- the common part of two hosts */

bool cpu_features_common(const struct cpu_features *one, const struct cpu_features *other,
                         struct cpu_features *out)
{
    struct cpu_features common = {0};
    for (size_t i = 0; i < CPU_FEATURE_WORDS; i++) {
        uint32_t a = one->words[i], b = other->words[i];
        if (words[i].compare == COMPARE_SAME && a != b)
            return false;
        common.words[i] = words[i].compare == COMPARE_LEAST ? (a < b ? a : b) : a & b;
    }
    *out = common;
    return true;
}
