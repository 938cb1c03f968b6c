/* Enrolment: an administrator names a pool and a host and gets a one-time token; the host's agent
 * shows it with a certificate request and gets its certificate. */
#pragma once

#include "base/error.h"
#include "base/uuid.h"

struct ca;
struct db;

#define ENROLMENT_TEXT_SIZE 69 /* "cpe_", 64 hex digits, NUL */

struct enrolment {
    char host[UUID_SIZE];
    char token[ENROLMENT_TEXT_SIZE];
    char expires_at[32];
};

/* Creates the host, or lets a host of this pool enrol again; an unused older token of the host
 * ends. ERROR_NOT_FOUND: no such pool (id or name) in scope; ERROR_CONFLICT: the host is in another
 * pool. */
bool enrolment_create(struct db *db, const char *scope, const char *pool, const char *name,
                      struct enrolment *out, struct error *err) must_check;

/* Uses the token up: the host's older certificates are revoked, a new one is issued. The same token
 * with the same request gets the same certificate again until the token expires, so that a lost
 * answer can be asked for again: then `serial` is "", because nothing was changed. ERROR_REFUSED:
 * unknown, expired or used. *certificate is owned by the caller. */
bool enrolment_use(struct db *db, const struct ca *ca, const char *token, const char *csr,
                   char host[UUID_SIZE], char **certificate, char serial[65],
                   struct error *err) must_check;
