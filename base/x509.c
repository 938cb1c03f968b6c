/* Keys, requests and certificates with OpenSSL; see x509.h. */
#include "base/x509.h"

#include "base/cleanup.h"
#include "base/memory.h"
#include "base/uuid.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char host_urn[] = "urn:crosspool:host:";

#define OWNER(name, type, release)                                                                 \
    static void name(type **p)                                                                     \
    {                                                                                              \
        release(*p);                                                                               \
    }
OWNER(drop_bio, BIO, BIO_free_all)
OWNER(drop_key, EVP_PKEY, EVP_PKEY_free)
OWNER(drop_request, X509_REQ, X509_REQ_free)
OWNER(drop_cert, X509, X509_free)
OWNER(drop_names, GENERAL_NAMES, GENERAL_NAMES_free)
#define auto_bio     __attribute__((cleanup(drop_bio))) BIO
#define auto_key     __attribute__((cleanup(drop_key))) EVP_PKEY
#define auto_request __attribute__((cleanup(drop_request))) X509_REQ
#define auto_cert    __attribute__((cleanup(drop_cert))) X509
#define auto_names   __attribute__((cleanup(drop_names))) GENERAL_NAMES

/* Reports OpenSSL's own reason and empties its queue. */
static bool openssl_error(struct error *err, enum error_code code, const char *what)
{
    char reason[160];
    ERR_error_string_n(ERR_peek_last_error(), reason, sizeof reason);
    ERR_clear_error();
    return error_set(err, code, "%s: %s", what, reason);
}

static bool text_of(BIO *bio, char **text, struct error *err)
{
    char *data;
    long size = BIO_get_mem_data(bio, &data);
    if (size <= 0)
        return openssl_error(err, ERROR_INTERNAL, "encoding PEM");
    char *copy = memory_alloc((size_t)size + 1);
    memcpy(copy, data, (size_t)size);
    *text = copy;
    return true;
}

static BIO *memory_of(const char *pem)
{
    return BIO_new_mem_buf(pem, (int)strnlen(pem, 1 << 16));
}

static EVP_PKEY *read_key(const char *pem, struct error *err)
{
    auto_bio *bio = memory_of(pem);
    EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL) : NULL;
    if (!key)
        openssl_error(err, ERROR_INVALID, "not a private key in PEM");
    return key;
}

static X509 *read_cert(const char *pem, struct error *err)
{
    auto_bio *bio = memory_of(pem);
    X509 *cert = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
    if (!cert)
        openssl_error(err, ERROR_INVALID, "not a certificate in PEM");
    return cert;
}

static bool write_cert(X509 *cert, char **pem, struct error *err)
{
    auto_bio *bio = BIO_new(BIO_s_mem());
    if (!bio || !PEM_write_bio_X509(bio, cert))
        return openssl_error(err, ERROR_INTERNAL, "writing a certificate");
    return text_of(bio, pem, err);
}

bool x509_make_key(char **key_pem, struct error *err)
{
    auto_key *key = EVP_EC_gen("P-256");
    auto_bio *bio = BIO_new(BIO_s_mem());
    if (!key || !bio || !PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL))
        return openssl_error(err, ERROR_INTERNAL, "making a key");
    return text_of(bio, key_pem, err);
}

static bool set_common_name(X509_NAME *name, const char *common_name)
{
    return X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)common_name,
                                      -1, -1, 0) == 1;
}

bool x509_make_request(const char *key_pem, const char *common_name, char **csr_pem,
                       struct error *err)
{
    auto_key *key = read_key(key_pem, err);
    if (!key)
        return false;
    auto_request *request = X509_REQ_new();
    auto_bio *bio = BIO_new(BIO_s_mem());
    if (!request || !bio || !set_common_name(X509_REQ_get_subject_name(request), common_name) ||
        !X509_REQ_set_pubkey(request, key) || !X509_REQ_sign(request, key, EVP_sha256()) ||
        !PEM_write_bio_X509_REQ(bio, request))
        return openssl_error(err, ERROR_INTERNAL, "making a certificate request");
    return text_of(bio, csr_pem, err);
}

static bool add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    bool is_added = extension && X509_add_ext(cert, extension, -1);
    X509_EXTENSION_free(extension);
    return is_added;
}

/* Version 3, a random 128-bit serial, valid from five minutes ago (clocks differ) for `days`. */
static X509 *new_cert(const char *common_name, int days)
{
    X509 *cert = X509_new();
    BIGNUM *serial = BN_new();
    bool is_made = cert && serial && X509_set_version(cert, X509_VERSION_3) &&
                   BN_rand(serial, 128, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) &&
                   BN_to_ASN1_INTEGER(serial, X509_get_serialNumber(cert)) &&
                   X509_gmtime_adj(X509_getm_notBefore(cert), -300) &&
                   X509_time_adj_ex(X509_getm_notAfter(cert), days, 0, NULL) &&
                   set_common_name(X509_get_subject_name(cert), common_name);
    BN_free(serial);
    if (is_made)
        return cert;
    X509_free(cert);
    return NULL;
}

bool x509_make_ca(const char *key_pem, const char *common_name, int days, char **cert_pem,
                  struct error *err)
{
    auto_key *key = read_key(key_pem, err);
    if (!key)
        return false;
    auto_cert *cert = new_cert(common_name, days);
    if (!cert || !X509_set_issuer_name(cert, X509_get_subject_name(cert)) ||
        !X509_set_pubkey(cert, key) ||
        !add_extension(cert, cert, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") ||
        !add_extension(cert, cert, NID_key_usage, "critical,keyCertSign,cRLSign") ||
        !add_extension(cert, cert, NID_subject_key_identifier, "hash") ||
        !X509_sign(cert, key, EVP_sha256()))
        return openssl_error(err, ERROR_INTERNAL, "making the CA certificate");
    return write_cert(cert, cert_pem, err);
}

static bool is_ip_address(const char *name)
{
    ASN1_OCTET_STRING *address = a2i_IPADDRESS(name);
    ASN1_OCTET_STRING_free(address);
    ERR_clear_error();
    return address != NULL;
}

static GENERAL_NAME *general_name(int type, const char *value)
{
    return a2i_GENERAL_NAME(NULL, NULL, NULL, type, value, 0);
}

static bool push_name(GENERAL_NAMES *names, GENERAL_NAME *name)
{
    if (name && sk_GENERAL_NAME_push(names, name) > 0)
        return true;
    GENERAL_NAME_free(name);
    return false;
}

/* Subject alternative names: the host's URN, or the server's names. Built as structures, never as
 * text for OpenSSL's config parser, which a name with a comma could abuse. */
static bool add_names(X509 *cert, const struct x509_issue *issue)
{
    auto_names *names = GENERAL_NAMES_new();
    if (!names)
        return false;
    if (issue->purpose == X509_FOR_HOST) {
        char urn[sizeof host_urn + UUID_SIZE];
        snprintf(urn, sizeof urn, "%s%s", host_urn, issue->common_name);
        if (!push_name(names, general_name(GEN_URI, urn)))
            return false;
    }
    for (const char *const *name = issue->names; name && *name; name++) {
        int type = is_ip_address(*name) ? GEN_IPADD : GEN_DNS;
        if (!push_name(names, general_name(type, *name)))
            return false;
    }
    return sk_GENERAL_NAME_num(names) == 0 ||
           X509_add1_ext_i2d(cert, NID_subject_alt_name, names, 0, 0) == 1;
}

static bool add_leaf_extensions(X509 *cert, X509 *ca, const struct x509_issue *issue)
{
    /* hosts dial and listen: they are both ends of the peer link */
    const char *usage = issue->purpose == X509_FOR_HOST ? "serverAuth,clientAuth" : "serverAuth";
    return add_extension(cert, ca, NID_basic_constraints, "critical,CA:FALSE") &&
           add_extension(cert, ca, NID_key_usage, "critical,digitalSignature") &&
           add_extension(cert, ca, NID_ext_key_usage, usage) &&
           add_extension(cert, ca, NID_authority_key_identifier, "keyid") && add_names(cert, issue);
}

static char *serial_text(const X509 *cert)
{
    BIGNUM *number = ASN1_INTEGER_to_BN(X509_get0_serialNumber(cert), NULL);
    char *hex = number ? BN_bn2hex(number) : NULL;
    char *text = hex ? memory_copy_text(hex) : NULL;
    for (char *p = text; p && *p; p++)
        *p = (char)(*p >= 'A' && *p <= 'F' ? *p + 'a' - 'A' : *p);
    OPENSSL_free(hex);
    BN_free(number);
    return text;
}

static X509_REQ *read_request(const char *csr_pem, struct error *err)
{
    auto_bio *bio = memory_of(csr_pem);
    X509_REQ *request = bio ? PEM_read_bio_X509_REQ(bio, NULL, NULL, NULL) : NULL;
    if (!request) {
        openssl_error(err, ERROR_INVALID, "not a certificate request in PEM");
        return NULL;
    }
    if (X509_REQ_verify(request, X509_REQ_get0_pubkey(request)) != 1) {
        openssl_error(err, ERROR_INVALID, "the certificate request is not signed by its own key");
        X509_REQ_free(request);
        return NULL;
    }
    return request;
}

bool x509_issue(const char *ca_cert_pem, const char *ca_key_pem, const char *csr_pem,
                const struct x509_issue *issue, char **cert_pem, char **serial_hex,
                struct error *err)
{
    auto_cert *ca = read_cert(ca_cert_pem, err);
    if (!ca)
        return false;
    auto_key *ca_key = read_key(ca_key_pem, err);
    if (!ca_key)
        return false;
    auto_request *request = read_request(csr_pem, err);
    if (!request)
        return false;
    auto_cert *cert = new_cert(issue->common_name, issue->days);
    if (!cert || !X509_set_issuer_name(cert, X509_get_subject_name(ca)) ||
        !X509_set_pubkey(cert, X509_REQ_get0_pubkey(request)) ||
        !add_leaf_extensions(cert, ca, issue) || !X509_sign(cert, ca_key, EVP_sha256()))
        return openssl_error(err, ERROR_INTERNAL, "issuing a certificate");
    auto_free char *serial = serial_text(cert);
    if (!serial)
        return openssl_error(err, ERROR_INTERNAL, "reading the serial");
    if (!write_cert(cert, cert_pem, err))
        return false;
    *serial_hex = take(serial);
    return true;
}

static bool host_of_cert(X509 *cert, char host[37], struct error *err)
{
    auto_names *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type != GEN_URI)
            continue;
        const ASN1_IA5STRING *uri = name->d.uniformResourceIdentifier;
        size_t prefix = sizeof host_urn - 1;
        if ((size_t)ASN1_STRING_length(uri) != prefix + UUID_SIZE - 1)
            continue;
        const char *text = (const char *)ASN1_STRING_get0_data(uri);
        char id[UUID_SIZE] = {0};
        memcpy(id, text + prefix, UUID_SIZE - 1);
        if (memcmp(text, host_urn, prefix) != 0 || !uuid_is_valid(id))
            continue;
        memcpy(host, id, UUID_SIZE);
        return true;
    }
    return error_set(err, ERROR_REFUSED, "the certificate names no host (no SAN %s<id>)", host_urn);
}

bool x509_host_of_pem(const char *cert_pem, char host[37], struct error *err)
{
    auto_cert *cert = read_cert(cert_pem, err);
    return cert && host_of_cert(cert, host, err);
}

bool x509_host_of_der(const unsigned char *der, size_t size, char host[37], char serial_hex[65],
                      struct error *err)
{
    const unsigned char *p = der;
    auto_cert *cert = d2i_X509(NULL, &p, (long)size);
    if (!cert)
        return openssl_error(err, ERROR_INVALID, "not a certificate in DER");
    auto_free char *serial = serial_text(cert);
    if (!serial || strlen(serial) > 64)
        return error_set(err, ERROR_INVALID, "the certificate's serial is longer than 256 bits");
    if (!host_of_cert(cert, host, err))
        return false;
    memcpy(serial_hex, serial, strlen(serial) + 1);
    return true;
}

bool x509_fits_key(const char *cert_pem, const char *key_pem, bool *fits, struct error *err)
{
    auto_cert *cert = read_cert(cert_pem, err);
    if (!cert)
        return false;
    auto_key *key = read_key(key_pem, err);
    if (!key)
        return false;
    *fits = X509_check_private_key(cert, key) == 1;
    ERR_clear_error();
    return true;
}

bool x509_seconds_left(const char *cert_pem, long long *seconds, struct error *err)
{
    auto_cert *cert = read_cert(cert_pem, err);
    if (!cert)
        return false;
    int days = 0, rest = 0;
    if (!ASN1_TIME_diff(&days, &rest, NULL, X509_get0_notAfter(cert)))
        return openssl_error(err, ERROR_INVALID, "reading the certificate's end of validity");
    *seconds = (long long)days * 86400 + rest;
    return true;
}

bool x509_seconds_of_life(const char *cert_pem, long long *seconds, struct error *err)
{
    auto_cert *cert = read_cert(cert_pem, err);
    if (!cert)
        return false;
    int days = 0, rest = 0;
    if (!ASN1_TIME_diff(&days, &rest, X509_get0_notBefore(cert), X509_get0_notAfter(cert)))
        return openssl_error(err, ERROR_INVALID, "reading the certificate's validity");
    *seconds = (long long)days * 86400 + rest;
    return true;
}

static void hex_text(const unsigned char *bytes, size_t count, char *out)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < count; i++) {
        out[2 * i] = digits[bytes[i] >> 4];
        out[2 * i + 1] = digits[bytes[i] & 15];
    }
    out[2 * count] = '\0';
}

void x509_sha256_hex(const void *data, size_t size, char out[65])
{
    unsigned char digest[32];
    if (!EVP_Digest(data, size, digest, NULL, EVP_sha256(), NULL))
        abort(); /* SHA-256 is always there; only memory can be missing */
    hex_text(digest, sizeof digest, out);
}

bool x509_fingerprint(const char *cert_pem, char out[65], struct error *err)
{
    unsigned char digest[32];
    auto_cert *cert = read_cert(cert_pem, err);
    if (!cert)
        return false;
    if (!X509_digest(cert, EVP_sha256(), digest, NULL))
        return openssl_error(err, ERROR_INTERNAL, "certificate digest");
    hex_text(digest, sizeof digest, out);
    return true;
}

void x509_random_hex(size_t bytes, char *out)
{
    unsigned char *random = memory_alloc(bytes);
    if (RAND_bytes(random, (int)bytes) != 1)
        abort();
    hex_text(random, bytes, out);
    OPENSSL_cleanse(random, bytes);
    free(random);
}
