/* See fixture.h. */
#include "fixture.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/x509.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <openssl/pem.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>

struct identity source, destination, expired, foreign, server_only;
struct link_server *fixture_server;
enum fixture_policy fixture_policy;
const struct link_hello fixture_hello = {"0f8fad5b-d9cb-469f-a165-70867728950e", LINK_COPY, 7, 3};

struct arrival {
    struct link_stream *stream;
    char peer_host[UUID_SIZE];
    struct link_hello hello;
};
static struct arrival arrivals[64];
static size_t arrived, taken;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

static struct {
    char *key, *certificate;
} ours, theirs;

static void make_identity(struct identity *out, const char *id, const char *ca_certificate,
                          const char *ca_key, enum x509_purpose purpose, int days)
{
    struct error err;
    auto_free char *request = NULL;
    auto_free char *serial = NULL;
    const char *names[] = {"localhost", NULL};
    struct x509_issue issue = {purpose, id, purpose == X509_FOR_SERVER ? names : NULL, days};
    snprintf(out->id, sizeof out->id, "%s", id);
    out->ca = memory_copy_text(ca_certificate);
    cr_assert(x509_make_key(&out->key, &err), "%s", err.text);
    cr_assert(x509_make_request(out->key, id, &request, &err), "%s", err.text);
    cr_assert(x509_issue(ca_certificate, ca_key, request, &issue, &out->certificate, &serial, &err),
              "%s", err.text);
}

static void make_identities(void)
{
    struct error err;
    char a[UUID_SIZE], b[UUID_SIZE];
    uuid_make(a);
    uuid_make(b);
    cr_assert(x509_make_key(&ours.key, &err) && x509_make_key(&theirs.key, &err) &&
                  x509_make_ca(ours.key, "crosspool", 30, &ours.certificate, &err) &&
                  x509_make_ca(theirs.key, "crosspool", 30, &theirs.certificate, &err),
              "%s", err.text);
    make_identity(&source, a, ours.certificate, ours.key, X509_FOR_HOST, 1);
    make_identity(&destination, b, ours.certificate, ours.key, X509_FOR_HOST, 1);
    make_identity(&expired, a, ours.certificate, ours.key, X509_FOR_HOST, -1);
    make_identity(&foreign, a, theirs.certificate, theirs.key, X509_FOR_HOST, 1);
    make_identity(&server_only, "localhost", ours.certificate, ours.key, X509_FOR_SERVER, 1);
}

static void on_stream(void *context, struct link_stream *stream, const char *peer_host,
                      const struct link_hello *hello)
{
    (void)context;
    struct error err = {.code = ERROR_CONFLICT, .text = "epoch 8 was seen"};
    if (fixture_policy == FIXTURE_REFUSE)
        link_refuse(stream, &err);
    if (fixture_policy != FIXTURE_ACCEPT || !link_accept(stream, &err)) {
        link_close(stream);
        return;
    }
    pthread_mutex_lock(&lock);
    struct arrival *arrival = &arrivals[arrived++ % 64];
    arrival->stream = stream;
    arrival->hello = *hello;
    snprintf(arrival->peer_host, UUID_SIZE, "%s", peer_host);
    pthread_cond_signal(&changed);
    pthread_mutex_unlock(&lock);
}

void fixture_start(void)
{
    struct error err;
    log_init("unit-link", LOG_ERROR);
    make_identities();
    struct link_files files = fixture_files(&destination);
    cr_assert(link_listen(&fixture_server, "127.0.0.1", 0, &files, on_stream, NULL, &err), "%s",
              err.text);
}

static void drop_identity(struct identity *identity)
{
    free(identity->ca);
    free(identity->certificate);
    free(identity->key);
}

void fixture_stop(void)
{
    link_server_close(fixture_server);
    fixture_server = NULL;
    for (; taken < arrived; taken++)
        link_close(arrivals[taken % 64].stream);
    struct identity *all[] = {&source, &destination, &expired, &foreign, &server_only};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        drop_identity(all[i]);
    free(ours.key), free(ours.certificate), free(theirs.key), free(theirs.certificate);
}

struct link_files fixture_files(const struct identity *identity)
{
    return (struct link_files){identity->ca, identity->certificate, identity->key};
}

int fixture_port(void)
{
    return link_server_port(fixture_server);
}

bool fixture_connect(const struct identity *who, struct link_stream **out, struct error *err)
{
    struct link_files files = fixture_files(who);
    return link_connect(out, destination.id, "127.0.0.1", fixture_port(), &files, &fixture_hello,
                        5000, err);
}

struct link_stream *fixture_take(char peer_host[UUID_SIZE], struct link_hello *hello)
{
    pthread_mutex_lock(&lock);
    while (taken == arrived)
        pthread_cond_wait(&changed, &lock);
    struct arrival arrival = arrivals[taken++ % 64];
    pthread_mutex_unlock(&lock);
    if (peer_host)
        memcpy(peer_host, arrival.peer_host, UUID_SIZE);
    if (hello)
        *hello = arrival.hello;
    return arrival.stream;
}

void fixture_pair(struct link_stream **near, struct link_stream **far)
{
    struct error err;
    cr_assert(fixture_connect(&source, near, &err), "%s", err.text);
    *far = fixture_take(NULL, NULL);
}

static void use(SSL_CTX *context, const struct identity *identity)
{
    BIO *certificate_bio = BIO_new_mem_buf(identity->certificate, -1);
    BIO *key_bio = BIO_new_mem_buf(identity->key, -1);
    X509 *certificate = PEM_read_bio_X509(certificate_bio, NULL, NULL, NULL);
    EVP_PKEY *key = PEM_read_bio_PrivateKey(key_bio, NULL, NULL, NULL);
    cr_assert(SSL_CTX_use_certificate(context, certificate) == 1);
    cr_assert(SSL_CTX_use_PrivateKey(context, key) == 1);
    X509_free(certificate);
    EVP_PKEY_free(key);
    BIO_free(certificate_bio);
    BIO_free(key_bio);
}

SSL *fixture_tls(const struct identity *identity, int version, bool has_alpn)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_max_proto_version(context, version);
    if (has_alpn)
        SSL_CTX_set_alpn_protos(context,
                                (const unsigned char *)"\x0b"
                                                       "crosspool/1",
                                12);
    if (identity)
        use(context, identity);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)fixture_port())};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert(connect(fd, (struct sockaddr *)&to, sizeof to) == 0);
    SSL *ssl = SSL_new(context);
    SSL_CTX_free(context);
    SSL_set_fd(ssl, fd);
    return ssl;
}

void fixture_tls_close(SSL *ssl)
{
    int fd = SSL_get_fd(ssl);
    SSL_free(ssl);
    close(fd);
}
