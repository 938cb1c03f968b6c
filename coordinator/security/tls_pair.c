/* Reads and checks a certificate and its key; see tls_pair.h. */
#include "coordinator/security/tls_pair.h"

#include "base/file.h"
#include "base/log.h"
#include "base/x509.h"
#include "coordinator/security/config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { PEM_SIZE = 64 << 10, WARN_DAYS = 30, DAY_S = 86400 };

static bool check_mode(const char *path, struct error *err)
{
    struct stat status;
    if (stat(path, &status) < 0)
        return error_set_errno(err, ERROR_NOT_FOUND, errno, "%s cannot be read", path);
    if (status.st_mode & 077)
        return error_set(err, ERROR_REFUSED,
                         "%s is open to others (mode %04o, expected 0600): chmod 600 it", path,
                         status.st_mode & 07777U);
    return true;
}

static bool check(const struct tls_pair *pair, const struct coordinator_tls *files,
                  struct error *err)
{
    bool fits = false;
    long long seconds = 0;
    if (!x509_fits_key(pair->certificate, pair->key, &fits, err))
        return error_prefix(err, "%s and %s", files->certificate, files->key);
    if (!fits)
        return error_set(err, ERROR_INVALID, "%s does not belong to its key %s", files->certificate,
                         files->key);
    if (!x509_seconds_left(pair->certificate, &seconds, err))
        return error_prefix(err, "%s", files->certificate);
    if (seconds <= 0)
        return error_set(err, ERROR_REFUSED, "%s expired %lld days ago; replace it",
                         files->certificate, -seconds / DAY_S);
    if (seconds < (long long)WARN_DAYS * DAY_S)
        log_warning("%s expires in %lld days; replace it and start again", files->certificate,
                    seconds / DAY_S);
    return true;
}

bool tls_pair_load(struct tls_pair *pair, const struct coordinator_tls *files, struct error *err)
{
    struct tls_pair loaded = {0};
    if (check_mode(files->key, err) &&
        file_read(files->certificate, PEM_SIZE, &loaded.certificate, NULL, err) &&
        file_read(files->key, PEM_SIZE, &loaded.key, NULL, err) && check(&loaded, files, err)) {
        *pair = loaded;
        return true;
    }
    tls_pair_done(&loaded);
    return error_prefix(err, "tls");
}

void tls_pair_done(struct tls_pair *pair)
{
    if (pair->key)
        explicit_bzero(pair->key, strlen(pair->key));
    free(pair->key);
    free(pair->certificate);
    *pair = (struct tls_pair){0};
}
