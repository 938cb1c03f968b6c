/* Keys and certificates: what is issued can be read back, what is forged is refused. */
#include "base/x509.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static const char host_id[] = "01234567-89ab-4cde-8f01-23456789abcd";

Test(x509, a_host_certificate_names_its_host_and_expires)
{
    struct error err;
    char *ca_key, *ca, *key, *csr, *cert, *serial;
    cr_assert(x509_make_key(&ca_key, &err), "%s", err.text);
    cr_assert(x509_make_ca(ca_key, "test CA", 10, &ca, &err), "%s", err.text);
    cr_assert(x509_make_key(&key, &err), "%s", err.text);
    cr_assert(x509_make_request(key, "whatever", &csr, &err), "%s", err.text);
    struct x509_issue issue = {.purpose = X509_FOR_HOST, .common_name = host_id, .days = 2};
    cr_assert(x509_issue(ca, ca_key, csr, &issue, &cert, &serial, &err), "%s", err.text);
    char host[37];
    cr_assert(x509_host_of_pem(cert, host, &err), "%s", err.text);
    cr_assert_str_eq(host, host_id);
    cr_assert_eq(strlen(serial), 32);
    long long left;
    cr_assert(x509_seconds_left(cert, &left, &err));
    cr_assert(left > 86400 && left <= 2 * 86400);
    cr_assert_not(x509_host_of_pem(ca, host, &err));
    cr_assert_eq(err.code, ERROR_REFUSED);
    free(ca_key);
    free(ca);
    free(key);
    free(csr);
    free(cert);
    free(serial);
}

Test(x509, a_server_certificate_takes_addresses_and_names_but_no_host)
{
    struct error err;
    char *ca_key, *ca, *csr, *cert, *serial, host[37];
    cr_assert(x509_make_key(&ca_key, &err));
    cr_assert(x509_make_ca(ca_key, "test CA", 10, &ca, &err));
    cr_assert(x509_make_request(ca_key, "x", &csr, &err));
    const char *names[] = {"localhost", "127.0.0.1", "::1", NULL};
    struct x509_issue issue = {
        .purpose = X509_FOR_SERVER, .common_name = "coordinator", .names = names, .days = 2};
    cr_assert(x509_issue(ca, ca_key, csr, &issue, &cert, &serial, &err), "%s", err.text);
    cr_assert_not(x509_host_of_pem(cert, host, &err));
    free(ca_key);
    free(ca);
    free(csr);
    free(cert);
    free(serial);
}

Test(x509, garbage_is_refused_with_a_reason)
{
    struct error err;
    char *out;
    cr_assert_not(x509_make_request("not a key", "x", &out, &err));
    cr_assert_eq(err.code, ERROR_INVALID);
    cr_assert(strstr(err.text, "not a private key in PEM") != NULL);
}

Test(x509, sha256_is_the_standard_one)
{
    char hex[65];
    x509_sha256_hex("abc", 3, hex); /* FIPS 180-2, appendix B.1 */
    cr_assert_str_eq(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}
