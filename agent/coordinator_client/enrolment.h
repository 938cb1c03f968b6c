/* Becoming a host of the coordinator's: a one-time token and a request for a certificate. */
#pragma once

#include "base/error.h"

/* Where one coordinator is. Owned texts; absent ones are NULL. */
struct coordinator_address {
    char *api;       /* "https://host:port" of the API port */
    char *agent;     /* of the agent port */
    char *ca;        /* PEM file of its CA, known beforehand */
    char *ca_sha256; /* or the fingerprint of its CA certificate: 64 hex digits, colons allowed */
};

/* Tries the coordinators in turn. The token goes only to a server whose certificate comes from the
 * CA that `ca` or `ca_sha256` names; ERROR_REFUSED when neither is given. */
bool enrolment_run(const struct coordinator_address *coordinators, size_t count,
                   const char *state_directory, const char *token, struct error *err) must_check;
/* The one line of a file that only its owner may read, or of standard input for "-". *token is
 * owned by the caller. ERROR_INVALID for anything but one word. */
bool enrolment_read_token(const char *path, char **token, struct error *err) must_check;
