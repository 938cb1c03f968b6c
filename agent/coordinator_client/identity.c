/* Key, certificate and CA of the host in its state directory. */
#include "agent/coordinator_client/identity.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/x509.h"

#include <stdatomic.h>
#include <string.h>

enum { PEM_LIMIT = 64 << 10 };

struct old_text {
    struct old_text *next;
    char *text;
};
struct identity {
    char host[UUID_SIZE];
    char *directory;
    char *ca, *key;
    _Atomic(char *) certificate;
    struct old_text *old; /* somebody may still read them; one for each renewal */
};

static bool read_pem(const char *directory, const char *name, char **text, struct error *err)
{
    auto_free char *path = memory_format("%s/%s", directory, name);
    return file_read(path, PEM_LIMIT, text, NULL, err);
}

static bool write_pem(const char *directory, const char *name, mode_t mode, const char *text,
                      struct error *err)
{
    auto_free char *path = memory_format("%s/%s", directory, name);
    return file_write(path, mode, text, strlen(text), err);
}

static bool is_there(const char *directory, const char *name)
{
    auto_free char *path = memory_format("%s/%s", directory, name);
    return access(path, F_OK) == 0;
}

/* Every peer refuses an expired one, and the coordinator does not renew it. */
static bool check_unexpired(const struct identity *identity, const char *certificate,
                            struct error *err)
{
    long long left = 0;
    if (!x509_seconds_left(certificate, &left, err))
        return error_prefix(err, "%s/host.pem", identity->directory);
    return left > 0 || error_set(err, ERROR_REFUSED,
                                 "%s/host.pem has expired: remove it and run `crosspool-agent "
                                 "enrol` with a new token for this host",
                                 identity->directory);
}

static bool load(struct identity *identity, struct error *err)
{
    char *certificate = NULL;
    if (!is_there(identity->directory, "host.pem"))
        return error_set(
            err, ERROR_NOT_FOUND,
            "%s holds no host certificate: run `crosspool-agent enrol --token-file FILE` first",
            identity->directory);
    if (!read_pem(identity->directory, "ca.pem", &identity->ca, err) ||
        !read_pem(identity->directory, "host.key", &identity->key, err) ||
        !read_pem(identity->directory, "host.pem", &certificate, err))
        return false;
    atomic_store(&identity->certificate, certificate);
    return x509_host_of_pem(certificate, identity->host, err) &&
           check_unexpired(identity, certificate, err);
}

bool identity_open(struct identity **out, const char *state_directory, struct error *err)
{
    struct identity *identity = memory_alloc(sizeof *identity);
    identity->directory = memory_copy_text(state_directory);
    if (!load(identity, err)) {
        identity_close(identity);
        return false;
    }
    *out = identity;
    return true;
}

void identity_close(struct identity *identity)
{
    if (!identity)
        return;
    while (identity->old) {
        struct old_text *old = identity->old;
        identity->old = old->next;
        free(old->text);
        free(old);
    }
    free(identity->directory);
    free(identity->ca);
    free(identity->key);
    free(atomic_load(&identity->certificate));
    free(identity);
}

const char *identity_ca(const struct identity *identity)
{
    return identity->ca;
}

const char *identity_key(const struct identity *identity)
{
    return identity->key;
}

const char *identity_certificate(const struct identity *identity)
{
    return atomic_load(&identity->certificate);
}

const char *identity_host(const struct identity *identity)
{
    return identity->host;
}

bool identity_is_due(const struct identity *identity, bool *is_due, struct error *err)
{
    const char *certificate = identity_certificate(identity);
    long long left = 0;
    long long life = 0;
    if (!x509_seconds_left(certificate, &left, err) ||
        !x509_seconds_of_life(certificate, &life, err))
        return false;
    *is_due = left <= life / 3;
    return true;
}

bool identity_request(const struct identity *identity, char **csr, struct error *err)
{
    return x509_make_request(identity->key, identity->host, csr, err);
}

static bool check_renewed(const struct identity *identity, const char *certificate,
                          struct error *err)
{
    char host[UUID_SIZE];
    long long left = 0;
    if (!x509_host_of_pem(certificate, host, err) || !x509_seconds_left(certificate, &left, err))
        return false;
    if (strcmp(host, identity->host) != 0)
        return error_set(err, ERROR_REFUSED, "the new certificate names host %s, not %s", host,
                         identity->host);
    if (left <= 0)
        return error_set(err, ERROR_REFUSED, "the new certificate is expired already");
    return true;
}

bool identity_renew(struct identity *identity, const char *certificate, struct error *err)
{
    if (!check_renewed(identity, certificate, err) ||
        !write_pem(identity->directory, "host.pem", 0644, certificate, err))
        return error_prefix(err, "renewal");
    struct old_text *old = memory_alloc(sizeof *old);
    old->text = atomic_exchange(&identity->certificate, memory_copy_text(certificate));
    old->next = identity->old;
    identity->old = old;
    return true;
}

bool identity_begin(const char *state_directory, char **csr, struct error *err)
{
    auto_free char *key = NULL;
    auto_free char *request = NULL;
    if (!file_make_directory(state_directory, 0700, err))
        return false;
    if (is_there(state_directory, "host.pem"))
        return error_set(err, ERROR_CONFLICT,
                         "this host is enrolled already: %s/host.pem is there; remove it to enrol "
                         "as another host",
                         state_directory);
    if (is_there(state_directory, "host.csr"))
        return read_pem(state_directory, "host.csr", csr, err);
    if (!x509_make_key(&key, err) || !x509_make_request(key, "crosspool-agent", &request, err) ||
        !write_pem(state_directory, "host.key", 0600, key, err) ||
        !write_pem(state_directory, "host.csr", 0600, request, err))
        return false;
    *csr = take(request);
    return true;
}

/* The certificate comes last: with it the host counts as enrolled. */
bool identity_save(const char *state_directory, const char *certificate, const char *ca,
                   struct error *err)
{
    auto_free char *request = memory_format("%s/host.csr", state_directory);
    return write_pem(state_directory, "ca.pem", 0644, ca, err) &&
           write_pem(state_directory, "host.pem", 0644, certificate, err) &&
           file_remove(request, err);
}
