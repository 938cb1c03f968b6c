/* CPU features: what a host lacks of a guest, by name, and how they travel as text. */
#include "base/cleanup.h"
#include "protocol/cpu_features.h"
#include "protocol/vocabulary.h"

#include <criterion/criterion.h>
#include <string.h>

enum { SSE3 = 1U << 0, CX16 = 1U << 13, OSXSAVE = 1U << 27 };

/* A CPU with that leaf 1 ecx. */
static struct cpu_features cpu(uint32_t word_1c)
{
    struct cpu_features features = {0};
    const struct cpu_leaf leaves[] = {
        {.leaf = 0, .a = 13, .b = 0x68747541, .c = 0x444d4163, .d = 0x69746e65},
        {.leaf = 1, .c = word_1c, .d = 0x078bfbff},
        {.leaf = 7, .a = 1, .b = 0x20},
        {.leaf = 7, .subleaf = 1, .a = 0x10},
    };
    for (size_t i = 0; i < sizeof leaves / sizeof leaves[0]; i++)
        cpu_features_add(&features, &leaves[i]);
    return features;
}

static void expect_missing(const struct cpu_features *guest, const struct cpu_features *host,
                           int count, const char *expected)
{
    char names[96];
    cr_assert_eq(cpu_features_missing(guest, host, names, sizeof names), count, "%s", names);
    cr_assert_str_eq(names, expected);
}

Test(cpu_features, a_host_that_can_more_is_fine_and_one_that_lacks_a_bit_is_not)
{
    struct cpu_features small = cpu(0), large = cpu(SSE3 | CX16);
    expect_missing(&small, &large, 0, "");
    expect_missing(&large, &large, 0, "");
    expect_missing(&large, &small, 2, "sse3, cx16");
}

/* Two bits of each list, counted in Xen's headers and not here. */
Test(cpu_features, bits_have_the_names_of_xen_cpuid)
{
    static const struct {
        struct cpu_leaf leaf;
        const char *names;
    } rows[] = {
        {{.leaf = 1, .d = 1U << 31 | 1U << 19}, "clflush, pbe"},
        {{.leaf = 1, .c = 1U << 30 | 1U << 17}, "pcid, rdrnd"},
        {{.leaf = 0x80000001, .d = 1U << 29 | 1U << 20}, "nx, lm"},
        {{.leaf = 0x80000001, .c = 1U << 29 | 1U << 22}, "topoext, monitorx"},
        {{.leaf = 0xd, .subleaf = 1, .a = 1U << 3}, "xsaves"},
        {{.leaf = 7, .b = 1U << 31 | 1U << 20}, "smap, avx512vl"},
        {{.leaf = 7, .c = 1U << 30 | 1U << 22}, "rdpid, sgx_lc"},
        {{.leaf = 0x80000007, .d = 1U << 8}, "itsc"},
        {{.leaf = 0x80000008, .b = 1U << 30 | 1U << 23}, "ppin, ibpb-ret"},
        {{.leaf = 7, .d = 1U << 31 | 1U << 20}, "cet-ibt, ssbd"},
        {{.leaf = 7, .subleaf = 1, .a = 1U << 5}, "avx512_bf16"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct cpu_features none = {0};
        struct cpu_features guest = {0};
        char names[96];
        cpu_features_add(&guest, &rows[i].leaf);
        cr_assert(cpu_features_missing(&guest, &none, names, sizeof names) > 0);
        cr_assert_str_eq(names, rows[i].names);
    }
}

Test(cpu_features, a_bit_without_a_name_is_told_by_its_place)
{
    struct cpu_features host = cpu(SSE3), guest = cpu(SSE3 | 1U << 16);
    expect_missing(&guest, &host, 1, "word 1c bit 16");
    const struct cpu_leaf beyond = {.leaf = 7, .subleaf = 2, .d = 1U << 31};
    guest = host;
    cpu_features_add(&guest, &beyond);
    expect_missing(&guest, &host, 1, "word 7d2 bit 31");
}

Test(cpu_features, what_there_is_no_room_for_is_counted)
{
    const struct cpu_features none = {0};
    struct cpu_features guest = {0};
    const struct cpu_leaf all = {.leaf = 1, .c = UINT32_MAX};
    cpu_features_add(&guest, &all);
    expect_missing(
        &guest, &none, 31,
        "sse3, pclmulqdq, dtes64, monitor, ds-cpl, vmx, smx, est, tm2, ssse3, cntx-id and "
        "20 more");
    char little[16];
    cr_assert_eq(cpu_features_missing(&guest, &none, little, sizeof little), 31);
    cr_assert_str_eq(little, "31 more");
}

Test(cpu_features, bits_that_change_while_a_guest_runs_do_not_count)
{
    struct cpu_features guest = cpu(SSE3 | OSXSAVE), host = cpu(SSE3);
    expect_missing(&guest, &host, 0, "");
}

Test(cpu_features, what_amd_repeats_of_the_basic_leaf_counts_once)
{
    enum { LONG_MODE = 1U << 29, FPU = 1U << 0 };
    struct cpu_features guest = cpu(SSE3), host = cpu(SSE3);
    const struct cpu_leaf of_guest = {.leaf = 0x80000001, .d = LONG_MODE | FPU};
    const struct cpu_leaf of_host = {.leaf = 0x80000001, .d = LONG_MODE};
    cpu_features_add(&guest, &of_guest);
    cpu_features_add(&host, &of_host);
    expect_missing(&guest, &host, 0, "");
}

Test(cpu_features, another_vendor_is_missing)
{
    struct cpu_features guest = cpu(SSE3), host = cpu(SSE3);
    const struct cpu_leaf intel = {
        .leaf = 0, .a = 13, .b = 0x756e6547, .c = 0x6c65746e, .d = 0x49656e69};
    cpu_features_add(&host, &intel);
    expect_missing(&guest, &host, 3,
                   "vendor-b 0x68747541, vendor-c 0x444d4163, vendor-d 0x69746e65");
}

Test(cpu_features, a_host_with_fewer_leaves_lacks_them)
{
    struct cpu_features guest = cpu(SSE3), host = cpu(SSE3);
    const struct cpu_leaf fewer = {
        .leaf = 0, .a = 7, .b = 0x68747541, .c = 0x444d4163, .d = 0x69746e65};
    cpu_features_add(&host, &fewer);
    expect_missing(&guest, &host, 1, "basic-leaves up to 0x0000000d");
    expect_missing(&host, &guest, 0, "");
}

Test(cpu_features, subleaves_are_told_apart)
{
    struct cpu_features guest = cpu(SSE3), host = cpu(SSE3);
    const struct cpu_leaf none = {.leaf = 7, .subleaf = 1};
    cpu_features_add(&host, &none);
    expect_missing(&guest, &host, 1, "avx-vnni");
}

/* -- as text */

static struct cpu_features all_ones(void)
{
    struct cpu_features features;
    memset(&features, 0xff, sizeof features);
    return features;
}

Test(cpu_features, what_is_written_is_read)
{
    const struct cpu_features rows[] = {cpu(SSE3 | CX16), all_ones(), {{0}}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct error err;
        struct cpu_features got;
        auto_free char *text = cpu_features_encode(&rows[i]);
        cr_assert(strlen(text) < LIMIT_FEATURES, "%zu", strlen(text));
        cr_assert(cpu_features_decode(text, &got, &err), "%s", err.text);
        cr_assert_arr_eq(got.words, rows[i].words, sizeof got.words);
    }
    struct cpu_features some = cpu(SSE3 | CX16);
    auto_free char *text = cpu_features_encode(&some);
    cr_assert_str_eq(text, "vendor-b=68747541 vendor-c=444d4163 vendor-d=69746e65 "
                           "basic-leaves=0000000d 7-subleaves=00000001 1d=078bfbff 1c=00002001 "
                           "7b0=00000020 7a1=00000010");
}

Test(cpu_features, what_is_no_text_of_features_is_refused)
{
    static const char *const rows[] = {"1c",    "1c=",          "=1",        "1c=0x1",
                                       "1c=-1", "1c=123456789", "1c=1,1d=1", " 1c=1",
                                       "1c=1g", "1c =1",        "1c=1  1d=1"};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct error err;
        struct cpu_features got = cpu(CX16), before = got;
        cr_assert_not(cpu_features_decode(rows[i], &got, &err), "%s", rows[i]);
        cr_assert_eq(err.code, ERROR_INVALID, "%s", rows[i]);
        cr_assert_arr_eq(got.words, before.words, sizeof got.words);
    }
}

Test(cpu_features, a_word_that_cannot_be_compared_is_refused)
{
    struct error err;
    struct cpu_features got;
    cr_assert_not(cpu_features_decode("1c=1 9q9=1", &got, &err));
    cr_assert_eq(err.code, ERROR_UNSUPPORTED);
    cr_assert(strstr(err.text, "9q9 is not known here"), "%s", err.text);
}
