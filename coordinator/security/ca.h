/* The coordinator's certificate authority and its own server certificate: four PEM files in the
 * state directory. Coordinators that share a database share these files (copy the directory). */
#pragma once

#include "base/error.h"
#include "base/json.h"
#include "base/uuid.h"

struct ca {
    char *key, *certificate;
    char *server_key, *server_certificate;
};

/* Makes ca.key, ca.pem and server.key when missing, and a new server.pem for `names` (array of
 * char *) each time: that renews it and follows a changed configuration. Safe to repeat after a
 * crash. A CA of which one half is missing is refused, never replaced: its hosts would be lost. */
bool ca_init(const char *state_directory, const struct json_array *names,
             struct error *err) must_check;
/* Reads them. Missing, open to others or expired files are one clear sentence. */
bool ca_load(struct ca *ca, const char *state_directory, struct error *err) must_check;
void ca_done(struct ca *ca);

/* Seconds until the CA certificate and the server certificate expire. */
bool ca_seconds_left(const struct ca *ca, long long *ca_seconds, long long *server_seconds,
                     struct error *err) must_check;

/* Signs a host's request. *certificate and *serial are owned by the caller. */
bool ca_issue_host(const struct ca *ca, const char *host, const char *csr, char **certificate,
                   char **serial, struct error *err) must_check;
