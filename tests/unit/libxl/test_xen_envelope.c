/* A domain's configuration as it travels from driver to driver. */
#include "agent/hypervisor/libxl/xen_envelope.h"
#include "base/cleanup.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static struct xen_envelope decoded(const char *text)
{
    struct error err;
    struct xen_envelope envelope = {0};
    cr_assert(xen_envelope_decode(text, &envelope, &err), "%s", err.text);
    return envelope;
}

Test(xen_envelope, what_is_sent_arrives)
{
    struct cpu_features features = {0};
    const struct cpu_leaf leaf = {.leaf = 1, .c = 0x2001, .d = 0x078bfbff};
    cpu_features_add(&features, &leaf);
    char config[] = "{\"c_info\":{\"name\":\"g1\"}}";
    const struct xen_envelope sent = {
        .version_major = 4, .version_minor = 17, .features = features, .config = config};
    auto_free char *text = xen_envelope_encode(&sent);
    cr_assert_not_null(text);
    auto_envelope struct xen_envelope got = decoded(text);
    cr_assert_eq(got.version_major, 4);
    cr_assert_eq(got.version_minor, 17);
    cr_assert_arr_eq(got.features.words, sent.features.words, sizeof sent.features.words);
    cr_assert_str_eq(got.config, config);
    cr_assert_null(got.autostart);
}

Test(xen_envelope, what_starts_the_domain_at_boot_goes_along)
{
    char config[] = "{}", autostart[] = "name = \"g1\"\n# \xc3\xa9\n";
    struct xen_envelope sent = {.config = config, .autostart = autostart};
    auto_free char *text = xen_envelope_encode(&sent);
    auto_envelope struct xen_envelope got = decoded(text);
    cr_assert_str_eq(got.autostart, autostart);
    autostart[0] = '\xff';
    cr_assert_null(xen_envelope_encode(&sent), "no UTF-8");
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
    expect_invalid("{\"xen\":[4],\"cpu\":\"\",\"domain\":{}}", ERROR_INVALID, "configuration");
    expect_invalid("{\"xen\":[4,17],\"cpu\":\"1c=-1\",\"domain\":{}}", ERROR_INVALID,
                   "expected word=hex");
    expect_invalid("{\"xen\":[4,17],\"cpu\":\"1c=1\",\"domain\":{},\"more\":1}", ERROR_INVALID,
                   "configuration");
}

Test(xen_envelope, a_word_that_cannot_be_compared_is_refused)
{
    expect_invalid("{\"xen\":[5,0],\"cpu\":\"9q9=1\",\"domain\":{}}", ERROR_UNSUPPORTED,
                   "9q9 is not known here");
}
