/* Files of the certificate authority; see ca.h. */
#include "coordinator/security/ca.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/x509.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

enum {
    CA_DAYS = 3650,
    SERVER_DAYS = 397,
    HOST_DAYS = 90, /* agents renew theirs long before */
    PEM_SIZE = 64 << 10,
    WARN_DAYS = 30,
    DAY_S = 86400,
};

static char *path_of(const char *directory, const char *name)
{
    return memory_format("%s/%s", directory, name);
}

/* *text stays NULL when there is no such file. */
static bool read_optional(const char *path, char **text, struct error *err)
{
    struct error failure;
    if (file_read(path, PEM_SIZE, text, NULL, &failure))
        return true;
    if (failure.code == ERROR_NOT_FOUND)
        return true;
    *err = failure;
    return false;
}

/* Reads the key, or makes one. */
static bool ensure_key(const char *directory, const char *name, char **key, struct error *err)
{
    auto_free char *path = path_of(directory, name);
    if (!read_optional(path, key, err))
        return false;
    if (*key)
        return true;
    auto_free char *made = NULL;
    if (!x509_make_key(&made, err) || !file_write(path, 0600, made, strlen(made), err))
        return false;
    *key = take(made);
    return true;
}

static bool ensure_ca(const char *directory, char **key, char **certificate, struct error *err)
{
    auto_free char *key_path = path_of(directory, "ca.key");
    auto_free char *path = path_of(directory, "ca.pem");
    if (!read_optional(path, certificate, err) || !read_optional(key_path, key, err))
        return false;
    if (*certificate && !*key)
        return error_set(err, ERROR_INVALID,
                         "%s is there but ca.key is not: restore it, a new CA would lose all hosts",
                         path);
    if (*certificate)
        return true;
    if (!*key && !ensure_key(directory, "ca.key", key, err))
        return false;
    auto_free char *made = NULL;
    if (!x509_make_ca(*key, "Crosspool CA", CA_DAYS, &made, err) ||
        !file_write(path, 0644, made, strlen(made), err))
        return false;
    *certificate = take(made);
    return true;
}

static bool renew_server(const char *directory, const char *ca_certificate, const char *ca_key,
                         const struct json_array *names, struct error *err)
{
    auto_free char *key = NULL;
    auto_free char *csr = NULL;
    if (!ensure_key(directory, "server.key", &key, err) ||
        !x509_make_request(key, "crosspool-coordinator", &csr, err))
        return false;
    auto_free const char **list = memory_array(names->count + 1, sizeof *list);
    for (size_t i = 0; i < names->count; i++)
        list[i] = ((char **)names->items)[i];
    const struct x509_issue issue = {.purpose = X509_FOR_SERVER,
                                     .common_name = "crosspool-coordinator",
                                     .names = list,
                                     .days = SERVER_DAYS};
    auto_free char *certificate = NULL;
    auto_free char *serial = NULL;
    if (!x509_issue(ca_certificate, ca_key, csr, &issue, &certificate, &serial, err))
        return error_prefix(err, "server certificate");
    /* the CA goes along, so that an agent that knows its fingerprint can recognize it */
    auto_free char *chain = memory_format("%s%s", certificate, ca_certificate);
    auto_free char *path = path_of(directory, "server.pem");
    return file_write(path, 0644, chain, strlen(chain), err);
}

bool ca_init(const char *state_directory, const struct json_array *names, struct error *err)
{
    if (!file_make_directory(state_directory, 0700, err))
        return false;
    /* two inits at once would pair the key of one with the certificate of the other */
    auto_close int lock = open(state_directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (lock < 0 || flock(lock, LOCK_EX) < 0)
        return error_set_errno(err, ERROR_INTERNAL, errno, "locking %s", state_directory);
    auto_free char *key = NULL;
    auto_free char *certificate = NULL;
    return ensure_ca(state_directory, &key, &certificate, err) &&
           renew_server(state_directory, certificate, key, names, err);
}

static bool load_file(const char *directory, const char *name, bool is_secret, char **text,
                      struct error *err)
{
    auto_free char *path = path_of(directory, name);
    struct stat status;
    if (stat(path, &status) < 0)
        return error_set_errno(err, ERROR_NOT_FOUND, errno,
                               "%s cannot be read; `crosspool-coordinator init` makes it", path);
    if (is_secret && (status.st_mode & 077))
        return error_set(err, ERROR_REFUSED,
                         "%s is open to others (mode %04o, expected 0600): chmod 600 it", path,
                         status.st_mode & 07777U);
    return file_read(path, PEM_SIZE, text, NULL, err);
}

static bool check_expiry(const char *directory, const char *name, const char *certificate,
                         const char *fix, struct error *err)
{
    long long seconds = 0;
    if (!x509_seconds_left(certificate, &seconds, err))
        return error_prefix(err, "%s/%s", directory, name);
    if (seconds <= 0)
        return error_set(err, ERROR_REFUSED, "%s/%s expired %lld days ago; %s", directory, name,
                         -seconds / DAY_S, fix);
    if (seconds < (long long)WARN_DAYS * DAY_S)
        log_warning("%s/%s expires in %lld days; %s", directory, name, seconds / DAY_S, fix);
    return true;
}

static bool check_server_key(const struct ca *ca, const char *directory, struct error *err)
{
    bool fits = false;
    if (!x509_fits_key(ca->server_certificate, ca->server_key, &fits, err))
        return error_prefix(err, "server certificate in %s", directory);
    return fits || error_set(err, ERROR_INVALID,
                             "%s/server.pem does not belong to its key server.key; "
                             "`crosspool-coordinator init` makes a new one",
                             directory);
}

static bool load_all(struct ca *ca, const char *directory, struct error *err)
{
    return load_file(directory, "ca.key", true, &ca->key, err) &&
           load_file(directory, "ca.pem", false, &ca->certificate, err) &&
           load_file(directory, "server.key", true, &ca->server_key, err) &&
           load_file(directory, "server.pem", false, &ca->server_certificate, err) &&
           check_expiry(directory, "ca.pem", ca->certificate,
                        "make a new CA (move the old files away, init) and enrol the hosts again",
                        err) &&
           check_expiry(directory, "server.pem", ca->server_certificate,
                        "`crosspool-coordinator init` renews it", err) &&
           check_server_key(ca, directory, err);
}

bool ca_load(struct ca *ca, const char *state_directory, struct error *err)
{
    struct ca loaded = {0};
    if (!load_all(&loaded, state_directory, err)) {
        ca_done(&loaded);
        return false;
    }
    *ca = loaded;
    return true;
}

static void free_secret(char *text)
{
    if (text)
        explicit_bzero(text, strlen(text));
    free(text);
}

void ca_done(struct ca *ca)
{
    free_secret(ca->key);
    free_secret(ca->server_key);
    free(ca->certificate);
    free(ca->server_certificate);
    *ca = (struct ca){0};
}

bool ca_seconds_left(const struct ca *ca, long long *ca_seconds, long long *server_seconds,
                     struct error *err)
{
    long long first = 0, second = 0;
    if (!x509_seconds_left(ca->certificate, &first, err) ||
        !x509_seconds_left(ca->server_certificate, &second, err))
        return false;
    *ca_seconds = first;
    *server_seconds = second;
    return true;
}

bool ca_issue_host(const struct ca *ca, const char *host, const char *csr, char **certificate,
                   char **serial, struct error *err)
{
    const struct x509_issue issue = {
        .purpose = X509_FOR_HOST, .common_name = host, .days = HOST_DAYS};
    return x509_issue(ca->certificate, ca->key, csr, &issue, certificate, serial, err);
}
