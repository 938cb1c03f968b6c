/* Enrolments in the table enrolment; see enrolment.h. */
#include "coordinator/security/enrolment.h"

#include "base/cleanup.h"
#include "base/memory.h"
#include "base/x509.h"
#include "coordinator/db/db.h"
#include "coordinator/security/certificate.h"
#include "coordinator/security/name.h"
#include "coordinator/security/scope.h"

#include <stdio.h>
#include <string.h>

/* The host's row, made when missing and locked. */
static bool lock_host(struct db *db, const char *scope, const char *pool, const char *name,
                      char id[UUID_SIZE], struct error *err)
{
    static const char insert_sql[] =
        "INSERT INTO host (pool_id, name) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING";
    static const char select_sql[] =
        "SELECT h.id, h.pool_id, CASE WHEN $2::uuid[] IS NULL OR p.id = ANY ($2) THEN"
        " 'pool ' || p.name ELSE 'another pool' END AS place"
        " FROM host h JOIN pool p ON p.id = h.pool_id WHERE h.name = $1 FOR UPDATE OF h";
    auto_db_rows struct db_rows *rows = NULL;
    if (!db_query(db, insert_sql, DB_PARAMS(pool, name), NULL, err) ||
        !db_query(db, select_sql, DB_PARAMS(name, scope), &rows, err))
        return false;
    if (db_count(rows) == 0)
        return error_set(err, ERROR_TIMEOUT, "host %s was removed meanwhile", name);
    if (strcmp(db_value(rows, 0, "pool_id"), pool) != 0)
        return error_set(err, ERROR_CONFLICT, "host %s is in %s", name, db_value(rows, 0, "place"));
    snprintf(id, UUID_SIZE, "%s", db_value(rows, 0, "id"));
    return true;
}

static bool replace_token(struct db *db, struct enrolment *made, struct error *err)
{
    static const char delete_sql[] =
        "DELETE FROM enrolment WHERE host_id = $1 OR expires_at < now() - interval '1 day'";
    static const char insert_sql[] =
        "INSERT INTO enrolment (host_id, hash, expires_at)"
        " VALUES ($1, $2, now() + interval '1 hour')"
        " RETURNING to_char(expires_at, 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"') AS expires_at";
    char hash[65];
    memcpy(made->token, "cpe_", 4);
    x509_random_hex(32, made->token + 4);
    x509_sha256_hex(made->token, strlen(made->token), hash);
    auto_db_rows struct db_rows *rows = NULL;
    if (!db_query(db, delete_sql, DB_PARAMS(made->host), NULL, err) ||
        !db_query(db, insert_sql, DB_PARAMS(made->host, hash), &rows, err))
        return false;
    snprintf(made->expires_at, sizeof made->expires_at, "%s", db_value(rows, 0, "expires_at"));
    return true;
}

bool enrolment_create(struct db *db, const char *scope, const char *pool, const char *name,
                      struct enrolment *out, struct error *err)
{
    struct enrolment made = {0};
    char pool_id[UUID_SIZE];
    if (!name_check("host", name, err) || !db_begin(db, err))
        return false;
    if (!scope_find_pool(db, scope, pool, pool_id, err) ||
        !lock_host(db, scope, pool_id, name, made.host, err) || !replace_token(db, &made, err) ||
        !db_commit(db, err)) {
        db_rollback(db);
        return false;
    }
    *out = made;
    return true;
}

/* One enrolment as found by its token. */
struct found {
    char id[UUID_SIZE];
    char host[UUID_SIZE];
    char *certificate; /* issued before for the same request, else NULL */
};

static bool find_token(struct db *db, const char *token, const char *csr_hash, struct found *found,
                       struct error *err)
{
    static const char sql[] =
        "SELECT e.id, e.host_id, e.expires_at <= now() AS is_expired, e.used_csr_hash, c.pem"
        " FROM enrolment e LEFT JOIN host_certificate c"
        "  ON c.serial = e.serial AND c.revoked_at IS NULL"
        " WHERE e.hash = $1 FOR UPDATE OF e";
    char hash[65];
    x509_sha256_hex(token, strlen(token), hash);
    auto_db_rows struct db_rows *rows = NULL;
    if (!db_query(db, sql, DB_PARAMS(hash), &rows, err))
        return false;
    if (db_count(rows) == 0)
        return error_set(err, ERROR_REFUSED,
                         "the enrolment token is not known, or a newer one replaced it");
    if (db_value_bool(rows, 0, "is_expired"))
        return error_set(err, ERROR_REFUSED, "the enrolment token has expired; make a new one");
    const char *used = db_value(rows, 0, "used_csr_hash");
    const char *pem = db_value(rows, 0, "pem");
    if (used && (!pem || strcmp(used, csr_hash) != 0))
        return error_set(err, ERROR_REFUSED, "the enrolment token was already used");
    snprintf(found->id, UUID_SIZE, "%s", db_value(rows, 0, "id"));
    snprintf(found->host, UUID_SIZE, "%s", db_value(rows, 0, "host_id"));
    found->certificate = used ? memory_copy_text(pem) : NULL;
    return true;
}

static bool issue(struct db *db, const struct ca *ca, const struct found *found, const char *csr,
                  const char *csr_hash, char **certificate, char serial[65], struct error *err)
{
    static const char revoke_sql[] =
        "UPDATE host_certificate SET revoked_at = now() WHERE host_id = $1 AND revoked_at IS NULL";
    static const char use_sql[] =
        "UPDATE enrolment SET used_at = now(), used_csr_hash = $2, serial = $3 WHERE id = $1";
    /* An agent that begins with an empty journal counts its inventories from the start. */
    static const char host_sql[] =
        "UPDATE host SET state = 'enabled', inventory_generation = 0 WHERE id = $1";
    auto_free char *made = NULL;
    if (!db_query(db, revoke_sql, DB_PARAMS(found->host), NULL, err) ||
        !certificate_issue(db, ca, found->host, csr, &made, serial, err) ||
        !db_query(db, use_sql, DB_PARAMS(found->id, csr_hash, serial), NULL, err) ||
        !db_query(db, host_sql, DB_PARAMS(found->host), NULL, err) || !db_commit(db, err))
        return false;
    *certificate = take(made);
    return true;
}

bool enrolment_use(struct db *db, const struct ca *ca, const char *token, const char *csr,
                   char host[UUID_SIZE], char **certificate, char serial[65], struct error *err)
{
    struct found found = {0};
    char csr_hash[65];
    x509_sha256_hex(csr, strlen(csr), csr_hash);
    if (!db_begin(db, err))
        return false;
    if (!find_token(db, token, csr_hash, &found, err)) {
        db_rollback(db);
        return false;
    }
    auto_free char *made = take(found.certificate);
    if (made) {
        db_rollback(db); /* nothing to change */
        serial[0] = '\0';
    } else if (!issue(db, ca, &found, csr, csr_hash, &made, serial, err)) {
        db_rollback(db);
        return false;
    }
    memcpy(host, found.host, UUID_SIZE);
    *certificate = take(made);
    return true;
}
