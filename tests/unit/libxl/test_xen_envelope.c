/* Which host can run a domain that was told these CPU features, and how they travel. */
#include "agent/hypervisor/libxl/xen_envelope.h"
#include "base/cleanup.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

enum { SSE3 = 1U << 0, CX16 = 1U << 13, OSXSAVE = 1U << 27 };

/* A CPU with that leaf 1 ecx. */
static struct xen_features cpu(uint32_t word_1c)
{
    struct xen_features features = {0};
    const struct xen_leaf leaves[] = {
        {.leaf = 0, .a = 13, .b = 0x68747541, .c = 0x444d4163, .d = 0x69746e65},
        {.leaf = 1, .c = word_1c, .d = 0x078bfbff},
        {.leaf = 7, .a = 1, .b = 0x20},
        {.leaf = 7, .subleaf = 1, .a = 0x10},
    };
    for (size_t i = 0; i < sizeof leaves / sizeof leaves[0]; i++)
        xen_features_add(&features, &leaves[i]);
    return features;
}

static void expect_refusal(const struct xen_features *domain, const struct xen_features *host,
                           const char *expected)
{
    struct error err;
    cr_assert_not(xen_features_check(domain, host, &err));
    cr_assert_eq(err.code, ERROR_UNSUPPORTED);
    cr_assert(strstr(err.text, expected), "%s", err.text);
}

Test(xen_features, a_host_that_can_more_is_fine_and_one_that_lacks_a_bit_is_not)
{
    struct error err;
    struct xen_features small = cpu(SSE3), large = cpu(SSE3 | CX16);
    cr_assert(xen_features_check(&small, &large, &err), "%s", err.text);
    cr_assert(xen_features_check(&large, &large, &err), "%s", err.text);
    expect_refusal(&large, &small, "word 1c, bits 0x00002000");
}

Test(xen_features, bits_that_change_while_a_guest_runs_do_not_count)
{
    struct error err;
    struct xen_features domain = cpu(SSE3 | OSXSAVE), host = cpu(SSE3);
    cr_assert(xen_features_check(&domain, &host, &err), "%s", err.text);
}

Test(xen_features, what_amd_repeats_of_the_basic_leaf_counts_once)
{
    struct error err;
    enum { LONG_MODE = 1U << 29, FPU = 1U << 0 };
    struct xen_features domain = cpu(SSE3), host = cpu(SSE3);
    const struct xen_leaf of_domain = {.leaf = 0x80000001, .d = LONG_MODE | FPU};
    const struct xen_leaf of_host = {.leaf = 0x80000001, .d = LONG_MODE};
    xen_features_add(&domain, &of_domain);
    xen_features_add(&host, &of_host);
    cr_assert(xen_features_check(&domain, &host, &err), "%s", err.text);
}

Test(xen_features, another_vendor_is_refused)
{
    struct xen_features domain = cpu(SSE3), host = cpu(SSE3);
    const struct xen_leaf intel = {
        .leaf = 0, .a = 13, .b = 0x756e6547, .c = 0x6c65746e, .d = 0x49656e69};
    xen_features_add(&host, &intel);
    expect_refusal(&domain, &host, "word vendor-b is 0x756e6547, expected 0x68747541");
}

Test(xen_features, a_host_with_fewer_leaves_is_refused)
{
    struct xen_features domain = cpu(SSE3), host = cpu(SSE3);
    const struct xen_leaf fewer = {
        .leaf = 0, .a = 7, .b = 0x68747541, .c = 0x444d4163, .d = 0x69746e65};
    xen_features_add(&host, &fewer);
    expect_refusal(&domain, &host, "word basic-leaves is 0x00000007, expected at least 0x0000000d");
}

Test(xen_features, subleaves_are_told_apart)
{
    struct xen_features domain = cpu(SSE3), host = cpu(SSE3);
    const struct xen_leaf none = {.leaf = 7, .subleaf = 1};
    xen_features_add(&host, &none);
    expect_refusal(&domain, &host, "word 7a1");
}

static struct xen_envelope decoded(const char *text)
{
    struct error err;
    struct xen_envelope envelope = {0};
    cr_assert(xen_envelope_decode(text, &envelope, &err), "%s", err.text);
    return envelope;
}

Test(xen_envelope, what_is_sent_arrives)
{
    char config[] = "{\"c_info\":{\"name\":\"g1\"}}";
    const struct xen_envelope sent = {
        .version_major = 4, .version_minor = 17, .features = cpu(SSE3 | CX16), .config = config};
    auto_free char *text = xen_envelope_encode(&sent);
    cr_assert_not_null(text);
    auto_envelope struct xen_envelope got = decoded(text);
    cr_assert_eq(got.version_major, 4);
    cr_assert_eq(got.version_minor, 17);
    cr_assert_arr_eq(got.features.words, sent.features.words, sizeof sent.features.words);
    cr_assert_str_eq(got.config, config);
}

static void expect_invalid(const char *text, enum error_code code, const char *expected)
{
    struct error err;
    struct xen_envelope envelope = {0};
    cr_assert_not(xen_envelope_decode(text, &envelope, &err), "%s", text);
    cr_assert_eq(err.code, code);
    cr_assert(strstr(err.text, expected), "%s", err.text);
    cr_assert_null(envelope.config);
}

Test(xen_envelope, what_is_no_envelope_is_refused)
{
    expect_invalid("{\"c_info\":{}}", ERROR_INVALID, "xen");
    expect_invalid("{\"xen\":[4],\"cpu\":{},\"domain\":{}}", ERROR_INVALID, "configuration");
    expect_invalid("{\"xen\":[4,17],\"cpu\":{\"1c\":-1},\"domain\":{}}", ERROR_INVALID,
                   "CPU word 1c: expected 32 bits");
    expect_invalid("{\"xen\":[4,17],\"cpu\":{\"1c\":1},\"domain\":{},\"more\":1}", ERROR_INVALID,
                   "configuration");
}

Test(xen_envelope, a_word_that_cannot_be_compared_is_refused)
{
    expect_invalid("{\"xen\":[5,0],\"cpu\":{\"9q9\":1},\"domain\":{}}", ERROR_UNSUPPORTED,
                   "9q9 is not known here");
}
