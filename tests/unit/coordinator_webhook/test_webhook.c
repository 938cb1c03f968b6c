/* Signatures of deliveries, and where a webhook may point. */
#include "base/hmac.h"
#include "coordinator/webhook/webhook_signature.h"
#include "coordinator/webhook/webhook_url.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <string.h>

Test(hmac, is_that_of_rfc_4231)
{
    char out[65];
    hmac_sha256_hex("Jefe", 4, "what do ya want for nothing?", 28, out);
    cr_assert_str_eq(out, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}

Test(signature, is_over_time_dot_body)
{
    /* printf '1700000000.{"a": 1}' | openssl dgst -sha256 -hmac 0123456789abcdef */
    char out[WEBHOOK_SIGNATURE_SIZE];
    webhook_signature("0123456789abcdef", 1700000000, "{\"a\": 1}", out);
    cr_assert_str_eq(out, "t=1700000000,v1="
                          "09f4bb04e8cba11aeb0d90ffdd73e38a83be1c59cd0408c683d80645ea8dd3d1");
}

static const char *const good[] = {"https://example.org/hook", "https://example.org:8443/a?b=c",
                                   "https://10.1.2.3/", "https://[2001:db8::1]:444/x"};
static const char *const local[] = {"http://127.0.0.1:8080/", "http://localhost/",
                                    "http://[::1]:80/",       "https://127.0.0.1/",
                                    "https://localhost/",     "http://2130706433/"};
static const struct {
    const char *url, *why;
} bad[] = {
    {"", "URL"},
    {"example", "https"},
    {"ftp://example.org/", "https"},
    {"file:///etc/passwd", "expected"},
    {"http://example.org/", "https"},
    {"http://10.0.0.1/", "https"},
    {"https://user@example.org/", "user and password"},
    {"https://user:word@example.org/", "user and password"},
    {"https://example.org/#part", "fragment"},
    {"https://169.254.169.254/latest", "link-local"},
    {"https://[fe80::1]/", "link-local"},
    {"https://[::ffff:169.254.169.254]/", "link-local"},
    {"https://[64:ff9b::a9fe:a9fe]/", "link-local"},
    {"https://[fd00:ec2::254]/", "metadata"},
    {"https://100.100.100.200/", "metadata"},
    {"https://0.0.0.0/", "not an address"},
    {"https://224.0.0.1/", "not an address"},
    {"https://255.255.255.255/", "not an address"},
    {"https://0xa9fea9fe/", "link-local"},
};

Test(url, https_to_anybody)
{
    struct error err = {0};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        cr_assert(webhook_url_check(good[i], false, &err), "%s: %s", good[i], err.text);
}

Test(url, this_machine_only_when_it_is_allowed)
{
    struct error err = {0};
    for (size_t i = 0; i < sizeof local / sizeof *local; i++) {
        cr_assert(webhook_url_check(local[i], true, &err), "%s: %s", local[i], err.text);
        cr_assert_not(webhook_url_check(local[i], false, &err), "%s", local[i]);
        cr_assert_eq(err.code, ERROR_INVALID);
        cr_assert(strstr(err.text, "loopback"), "%s: %s", local[i], err.text);
    }
}

Test(url, nothing_else)
{
    struct error err;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cr_assert_not(webhook_url_check(bad[i].url, true, &err), "%s", bad[i].url);
        cr_assert_eq(err.code, ERROR_INVALID);
        cr_assert(strstr(err.text, bad[i].why), "%s: %s", bad[i].url, err.text);
    }
}

Test(address, a_name_that_stands_for_this_machine_is_refused)
{
    struct error err;
    struct sockaddr_in address = {.sin_family = AF_INET};
    inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
    cr_assert_not(webhook_address_check((struct sockaddr *)&address, false, &err));
    cr_assert_eq(err.code, ERROR_REFUSED);
    cr_assert(webhook_address_check((struct sockaddr *)&address, true, &err));
    inet_pton(AF_INET, "169.254.169.254", &address.sin_addr);
    cr_assert_not(webhook_address_check((struct sockaddr *)&address, true, &err));
}
