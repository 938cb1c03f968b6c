/* Host certificates in the table host_certificate; see certificate.h. */
#include "coordinator/security/certificate.h"

#include "base/cleanup.h"
#include "base/x509.h"
#include "coordinator/db/db.h"
#include "coordinator/security/ca.h"

#include <stdio.h>

bool certificate_check(struct db *db, const char *host, const char *serial, struct error *err)
{
    static const char sql[] =
        "SELECT c.revoked_at IS NOT NULL OR h.state = 'revoked' AS is_revoked,"
        " c.expires_at <= now() AS is_expired"
        " FROM host_certificate c JOIN host h ON h.id = c.host_id"
        " WHERE c.serial = $1 AND c.host_id = $2";
    auto_db_rows struct db_rows *rows = NULL;
    if (!db_query(db, sql, DB_PARAMS(serial, host), &rows, err))
        return false;
    if (db_count(rows) == 0)
        return error_set(err, ERROR_REFUSED, "the certificate of host %s is not known here", host);
    if (db_value_bool(rows, 0, "is_revoked"))
        return error_set(err, ERROR_REFUSED, "the certificate of host %s was revoked", host);
    if (db_value_bool(rows, 0, "is_expired"))
        return error_set(err, ERROR_REFUSED, "the certificate of host %s has expired", host);
    return true;
}

/* A host keeps its newest few: it may still use an older one when an answer was lost. */
static bool forget_old(struct db *db, const char *host, struct error *err)
{
    static const char sql[] = "DELETE FROM host_certificate WHERE host_id = $1 AND serial NOT IN"
                              " (SELECT serial FROM host_certificate WHERE host_id = $1"
                              "  ORDER BY issued_at DESC, serial LIMIT 8)";
    return db_query(db, sql, DB_PARAMS(host), NULL, err);
}

bool certificate_issue(struct db *db, const struct ca *ca, const char *host, const char *csr,
                       char **certificate, char serial[65], struct error *err)
{
    static const char sql[] = "INSERT INTO host_certificate (serial, host_id, pem, expires_at)"
                              " VALUES ($1, $2, $3, now() + make_interval(secs => $4))";
    auto_free char *made = NULL;
    auto_free char *made_serial = NULL;
    long long seconds = 0;
    if (!ca_issue_host(ca, host, csr, &made, &made_serial, err) ||
        !x509_seconds_left(made, &seconds, err))
        return false;
    if (!db_query(db, sql, DB_PARAMS(made_serial, host, made, db_int(seconds).text), NULL, err) ||
        !forget_old(db, host, err))
        return false;
    snprintf(serial, 65, "%s", made_serial);
    *certificate = take(made);
    return true;
}

bool certificate_revoke_host(struct db *db, const char *host, struct error *err)
{
    static const char sql[] =
        "WITH locked_out AS (UPDATE host SET state = 'revoked' WHERE id = $1 RETURNING id),"
        " certificates AS (UPDATE host_certificate SET revoked_at = now()"
        "  WHERE host_id IN (SELECT id FROM locked_out) AND revoked_at IS NULL),"
        " enrolments AS (DELETE FROM enrolment"
        "  WHERE host_id IN (SELECT id FROM locked_out) AND used_at IS NULL)"
        " SELECT pg_notify('host_steps', id::text) FROM locked_out";
    auto_db_rows struct db_rows *rows = NULL;
    if (!db_query(db, sql, DB_PARAMS(host), &rows, err))
        return false;
    if (db_count(rows) == 0)
        return error_set(err, ERROR_NOT_FOUND, "host %.128s does not exist", host);
    return true;
}
