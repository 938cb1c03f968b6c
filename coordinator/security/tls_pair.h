/* An operator's own certificate and key for the API port. */
#pragma once

#include "base/error.h"

struct coordinator_tls;

struct tls_pair {
    char *certificate, *key; /* PEM; the certificate with its chain */
};

/* Reads both files. Missing ones, a key that is open to others or belongs to another certificate,
 * and a certificate that is not valid now are one clear sentence. */
bool tls_pair_load(struct tls_pair *pair, const struct coordinator_tls *files,
                   struct error *err) must_check;
void tls_pair_done(struct tls_pair *pair);
