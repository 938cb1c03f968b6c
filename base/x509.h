/* Keys, certificate requests and certificates (OpenSSL): EC P-256, PEM text everywhere.
 * A host's certificate carries CN=<host uuid> and SAN URI:urn:crosspool:host:<host uuid>. */
#pragma once

#include "base/error.h"

#include <stddef.h>

bool x509_make_key(char **key_pem, struct error *err) must_check;
/* CSR for CN=`common_name`. */
bool x509_make_request(const char *key_pem, const char *common_name, char **csr_pem,
                       struct error *err) must_check;
/* Self-signed CA certificate, `days` of validity. */
bool x509_make_ca(const char *key_pem, const char *common_name, int days, char **cert_pem,
                  struct error *err) must_check;

enum x509_purpose { X509_FOR_SERVER, X509_FOR_HOST };
struct x509_issue {
    enum x509_purpose purpose;
    const char *common_name;  /* subject, whatever the CSR says */
    const char *const *names; /* SERVER: DNS names and IP addresses, NULL-terminated */
    int days;
};
/* Signs the CSR's public key (its self-signature is checked first). *serial_hex (owned) is the
 * random 128-bit serial. */
bool x509_issue(const char *ca_cert_pem, const char *ca_key_pem, const char *csr_pem,
                const struct x509_issue *issue, char **cert_pem, char **serial_hex,
                struct error *err) must_check;

/* Host uuid named by a host certificate (PEM or DER); false when it is none of ours by form.
 * The chain is not checked here. */
bool x509_host_of_pem(const char *cert_pem, char host[37], struct error *err) must_check;
bool x509_host_of_der(const unsigned char *der, size_t size, char host[37], char serial_hex[65],
                      struct error *err) must_check;
/* Does the key belong to the (first) certificate? */
bool x509_fits_key(const char *cert_pem, const char *key_pem, bool *fits,
                   struct error *err) must_check;
/* Seconds until the certificate expires (negative: expired). */
bool x509_seconds_left(const char *cert_pem, long long *seconds, struct error *err) must_check;

/* Seconds from the beginning to the end of the certificate's validity. */
bool x509_seconds_of_life(const char *cert_pem, long long *seconds, struct error *err) must_check;
/* Lower-case hex SHA-256 of the first certificate's DER: what `openssl x509 -fingerprint -sha256`
 * prints. */
bool x509_fingerprint(const char *cert_pem, char out[65], struct error *err) must_check;

/* Lower-case hex SHA-256 of data (65 bytes with NUL). */
void x509_sha256_hex(const void *data, size_t size, char out[65]);
/* `bytes` random bytes as lower-case hex, out holds 2*bytes+1. */
void x509_random_hex(size_t bytes, char *out);
