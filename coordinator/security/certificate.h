/* Host certificates as the coordinator knows them: which are good, new ones, revocation. */
#pragma once

#include "base/error.h"
#include "base/uuid.h"

struct ca;
struct db;

/* ERROR_REFUSED unless this serial was issued to this host, is neither revoked nor expired, and the
 * host is not locked out. */
bool certificate_check(struct db *db, const char *host, const char *serial,
                       struct error *err) must_check;
/* Signs the request for the host and records the certificate. *certificate is owned by the caller.
 */
bool certificate_issue(struct db *db, const struct ca *ca, const char *host, const char *csr,
                       char **certificate, char serial[65], struct error *err) must_check;
/* Locks a host out by id: all its certificates are revoked until it enrols again, and its parked
 * polls end. */
bool certificate_revoke_host(struct db *db, const char *host, struct error *err) must_check;
