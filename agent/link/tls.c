/* See tls.h. */
#include "agent/link/tls.h"

#include "base/x509.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>

enum {
    PEM_LIMIT = 1 << 20,
    READ_BUFFER = 128 << 10, /* one recv fetches up to this much ciphertext */
};

/* Length and name, as ALPN wants it. It keeps a peer that means another service of the same CA from
 * being understood here. */
static const unsigned char protocol[] = "\x0b"
                                        "crosspool/1";
enum { PROTOCOL_SIZE = sizeof protocol - 1 };

static void drop_bio(BIO **bio)
{
    BIO_free_all(*bio);
}
static void drop_certificate(X509 **certificate)
{
    X509_free(*certificate);
}
static void drop_key(EVP_PKEY **key)
{
    EVP_PKEY_free(*key);
}
static void drop_context(SSL_CTX **context)
{
    SSL_CTX_free(*context);
}
#define auto_bio         __attribute__((cleanup(drop_bio)))
#define auto_certificate __attribute__((cleanup(drop_certificate)))
#define auto_key         __attribute__((cleanup(drop_key)))
#define auto_context     __attribute__((cleanup(drop_context)))

static bool fail(struct error *err, enum error_code code, const char *what)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    ERR_clear_error();
    return error_set(err, code, "%s: %s", what, reason ? reason : "nothing readable in the PEM");
}

/* A key with a passphrase is an error, never a question on a terminal. */
static int no_passphrase(char *text, int size, int is_writing, void *context)
{
    (void)text, (void)size, (void)is_writing, (void)context;
    return -1;
}

static BIO *open_text(const char *pem)
{
    return BIO_new_mem_buf(pem ? pem : "", pem ? (int)strnlen(pem, PEM_LIMIT) : 0);
}

static bool add_authorities(SSL_CTX *context, const char *pem, struct error *err)
{
    auto_bio BIO *bio = open_text(pem);
    int count = 0;
    for (;; count++) { /* several while the CA is being replaced */
        auto_certificate X509 *certificate = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL);
        if (!certificate)
            break;
        /* decodes the extensions now, not in many handshakes at the same time */
        X509_check_purpose(certificate, -1, 0);
        if (!X509_STORE_add_cert(SSL_CTX_get_cert_store(context), certificate))
            return fail(err, ERROR_INVALID, "CA certificate of the link");
    }
    if (count == 0)
        return fail(err, ERROR_INVALID, "CA certificate of the link");
    ERR_clear_error(); /* the end of the text */
    return true;
}

static bool use_certificate(SSL_CTX *context, const struct link_files *files, struct error *err)
{
    auto_bio BIO *bio = open_text(files->certificate);
    auto_certificate X509 *certificate = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL);
    if (!certificate || SSL_CTX_use_certificate(context, certificate) != 1)
        return fail(err, ERROR_INVALID, "certificate of this host");
    X509_check_purpose(certificate, -1, 0);
    auto_bio BIO *key_bio = open_text(files->key);
    auto_key EVP_PKEY *key = PEM_read_bio_PrivateKey(key_bio, NULL, no_passphrase, NULL);
    if (!key || SSL_CTX_use_PrivateKey(context, key) != 1 ||
        SSL_CTX_check_private_key(context) != 1)
        return fail(err, ERROR_INVALID, "private key of this host");
    return true;
}

static int select_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_size,
                           const unsigned char *offered, unsigned int offered_size, void *context)
{
    (void)ssl, (void)context;
    unsigned char *selected;
    if (SSL_select_next_proto(&selected, out_size, protocol, PROTOCOL_SIZE, offered,
                              offered_size) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = selected;
    return SSL_TLSEXT_ERR_OK;
}

/* AES is the fastest where the processor has instructions for it, and by far the slowest where not:
 * then ChaCha20 comes first, and a server follows a client that says so. */
static const char *suites(void)
{
    return __builtin_cpu_supports("aes")
               ? "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
               : "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384";
}

/* No tickets and no cache: each connection proves its certificate anew. */
static bool harden(SSL_CTX *context, enum tls_side side)
{
    int verify = SSL_VERIFY_PEER | (side == TLS_ACCEPTS ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0);
    SSL_CTX_set_verify(context, verify, NULL);
    SSL_CTX_set_options(context, SSL_OP_NO_TICKET | SSL_OP_CIPHER_SERVER_PREFERENCE |
                                     SSL_OP_PRIORITIZE_CHACHA | SSL_OP_NO_COMPRESSION |
                                     SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_alpn_select_cb(context, select_protocol, NULL);
    return SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) &&
           SSL_CTX_set_max_proto_version(context, TLS1_3_VERSION) &&
           SSL_CTX_set_num_tickets(context, 0) && SSL_CTX_set_ciphersuites(context, suites()) &&
           SSL_CTX_set_alpn_protos(context, protocol, PROTOCOL_SIZE) == 0;
}

bool tls_context_new(SSL_CTX **out, enum tls_side side, const struct link_files *files,
                     struct error *err)
{
    ERR_clear_error();
    auto_context SSL_CTX *context =
        SSL_CTX_new(side == TLS_ACCEPTS ? TLS_server_method() : TLS_client_method());
    if (!context || !harden(context, side))
        return fail(err, ERROR_INTERNAL, "setting TLS up");
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(context, 1);
    SSL_CTX_set_default_read_buffer_len(context, READ_BUFFER);
    if (!add_authorities(context, files->ca, err) || !use_certificate(context, files, err))
        return false;
    *out = context;
    context = NULL;
    return true;
}

static bool speaks_our_protocol(SSL *ssl)
{
    const unsigned char *selected;
    unsigned int size;
    SSL_get0_alpn_selected(ssl, &selected, &size);
    return size == protocol[0] && memcmp(selected, protocol + 1, size) == 0;
}

bool tls_peer_host(SSL *ssl, char host[UUID_SIZE], struct error *err)
{
    if (!speaks_our_protocol(ssl))
        return error_set(err, ERROR_REFUSED, "the peer does not speak the crosspool link");
    X509 *certificate = SSL_get0_peer_certificate(ssl);
    if (!certificate || SSL_get_verify_result(ssl) != X509_V_OK)
        return error_set(err, ERROR_REFUSED, "the peer showed no certificate of our CA");
    unsigned char *der = NULL;
    int size = i2d_X509(certificate, &der);
    if (size <= 0)
        return fail(err, ERROR_INTERNAL, "encoding the peer's certificate");
    char serial[65];
    bool is_host = x509_host_of_der(der, (size_t)size, host, serial, err);
    OPENSSL_free(der);
    return is_host || error_prefix(err, "the peer is no host of ours");
}

/* What we found wrong with the peer's certificate. */
static const char *verdict_text(long verdict)
{
    switch (verdict) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
        return "the peer's certificate has expired";
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return "the peer's certificate is not valid yet (do the clocks agree?)";
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
    case X509_V_ERR_AKID_SKID_MISMATCH:
        return "the peer's certificate is not from our CA";
    case X509_V_ERR_INVALID_PURPOSE:
        return "the peer's certificate is not one of a host (wrong purpose)";
    default:
        return X509_verify_cert_error_string(verdict);
    }
}

/* Failures that a person can act on, by OpenSSL's reason; an ALERT is what the peer says of us. */
static const struct {
    int reason;
    enum error_code code;
    const char *text;
} reasons[] = {
    {SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE, ERROR_REFUSED, "the peer sent no certificate"},
    {SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED, ERROR_REFUSED,
     "the peer demands a certificate and got none"},
    {SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED, ERROR_REFUSED,
     "the peer refused our certificate: it has expired"},
    {SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED, ERROR_REFUSED,
     "the peer refused our certificate: it is revoked"},
    {SSL_R_TLSV1_ALERT_UNKNOWN_CA, ERROR_REFUSED,
     "the peer refused our certificate: it is not from the peer's CA"},
    {SSL_R_SSLV3_ALERT_BAD_CERTIFICATE, ERROR_REFUSED, "the peer refused our certificate"},
    {SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE, ERROR_REFUSED,
     "the peer refused our certificate: wrong purpose"},
    {SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN, ERROR_REFUSED, "the peer refused our certificate"},
    {SSL_R_TLSV1_ALERT_DECRYPT_ERROR, ERROR_REFUSED,
     "the peer refused our certificate: wrong signature"},
    {SSL_R_UNSUPPORTED_PROTOCOL, ERROR_REFUSED, "the peer does not speak TLS 1.3"},
    {SSL_R_TLSV1_ALERT_PROTOCOL_VERSION, ERROR_REFUSED, "the peer does not speak TLS 1.3"},
    {SSL_R_VERSION_TOO_LOW, ERROR_REFUSED, "the peer does not speak TLS 1.3"},
    {SSL_R_WRONG_VERSION_NUMBER, ERROR_REFUSED, "the peer does not speak TLS"},
    {SSL_R_HTTP_REQUEST, ERROR_REFUSED, "the peer does not speak TLS"},
    {SSL_R_NO_APPLICATION_PROTOCOL, ERROR_REFUSED, "the peer does not speak the crosspool link"},
    {SSL_R_TLSV1_ALERT_NO_APPLICATION_PROTOCOL, ERROR_REFUSED,
     "the peer does not speak the crosspool link"},
    {SSL_R_UNEXPECTED_EOF_WHILE_READING, ERROR_UNREACHABLE,
     "the peer closed the connection in the middle"},
};

bool tls_explain(SSL *ssl, struct error *err)
{
    unsigned long failure = ERR_peek_error();
    const char *words = ERR_reason_error_string(failure);
    int reason = ERR_GET_REASON(failure);
    ERR_clear_error();
    if (reason == SSL_R_CERTIFICATE_VERIFY_FAILED)
        return error_set(err, ERROR_REFUSED, "%s", verdict_text(SSL_get_verify_result(ssl)));
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++)
        if (reasons[i].reason == reason)
            return error_set(err, reasons[i].code, "%s", reasons[i].text);
    return error_set(err, ERROR_UNREACHABLE, "TLS: %s", words ? words : "failed without a reason");
}
