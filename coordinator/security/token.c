/* API tokens in the table api_token; see token.h. */
#include "coordinator/security/token.h"

#include "base/memory.h"
#include "base/x509.h"
#include "coordinator/db/db.h"
#include "coordinator/security/name.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const token_role_names[] = {"viewer", "operator", "admin", NULL};

bool token_role_parse(const char *word, enum token_role *role, struct error *err)
{
    for (int i = 0; token_role_names[i]; i++) {
        if (strcmp(word, token_role_names[i]) != 0)
            continue;
        *role = (enum token_role)i;
        return true;
    }
    return error_set(err, ERROR_INVALID, "role %.40s: expected viewer, operator or admin", word);
}

void token_done(struct token *token)
{
    free(token->scope);
    *token = (struct token){0};
}

void token_copy(struct token *to, const struct token *from)
{
    token_done(to);
    *to = *from;
    to->scope = from->scope ? memory_copy_text(from->scope) : NULL;
}

/* A text that PostgreSQL does not take for a time in the future is the caller's mistake. */
static bool check_expiry(struct db *db, const char *expires_at, struct error *err)
{
    static const char sql[] =
        "SELECT $1::timestamptz BETWEEN now() AND now() + interval '100 years' AS is_good";
    auto_db_rows struct db_rows *rows = NULL;
    bool is_read = !expires_at || db_query(db, sql, DB_PARAMS(expires_at), &rows, err);
    if (!is_read && err->code != ERROR_INVALID)
        return false;
    if (!expires_at || (is_read && db_value_bool(rows, 0, "is_good")))
        return true;
    return error_set(err, ERROR_INVALID, "expires_at: expected a time in the future");
}

bool token_create(struct db *db, const struct token_new *wanted, char id[UUID_SIZE],
                  char text[TOKEN_TEXT_SIZE], struct error *err)
{
    static const char sql[] = "INSERT INTO api_token (name, role, hash, pool_ids, expires_at)"
                              " VALUES ($1, $2, $3, $4, $5) RETURNING id";
    char made[TOKEN_TEXT_SIZE] = "cpt_";
    char hash[65];
    auto_db_rows struct db_rows *rows = NULL;
    if (!name_check("token", wanted->name, err) || !check_expiry(db, wanted->expires_at, err))
        return false;
    x509_random_hex(32, made + 4);
    x509_sha256_hex(made, strlen(made), hash);
    if (!db_query(db, sql,
                  DB_PARAMS(wanted->name, token_role_names[wanted->role], hash, wanted->scope,
                            wanted->expires_at),
                  &rows, err)) {
        if (err->code == ERROR_CONFLICT)
            return error_set(err, ERROR_CONFLICT, "a token named %s is in use; revoke it first",
                             wanted->name);
        return false;
    }
    memcpy(id, db_value(rows, 0, "id"), UUID_SIZE);
    memcpy(text, made, sizeof made);
    return true;
}

bool token_find_id(struct db *db, const char *id_or_name, char id[UUID_SIZE], struct error *err)
{
    static const char sql[] = "SELECT id FROM api_token WHERE id::text = $1"
                              " OR (name = $1 AND revoked_at IS NULL)";
    auto_db_rows struct db_rows *rows = NULL;
    if (!db_query(db, sql, DB_PARAMS(id_or_name), &rows, err))
        return false;
    if (db_count(rows) == 0)
        return error_set(err, ERROR_NOT_FOUND, "no token named %.128s is in use", id_or_name);
    memcpy(id, db_value(rows, 0, "id"), UUID_SIZE);
    return true;
}

bool token_revoke(struct db *db, const char *id, struct error *err)
{
    static const char sql[] =
        "UPDATE api_token SET revoked_at = now() WHERE id = $1 AND revoked_at IS NULL";
    auto_db_rows struct db_rows *rows = NULL;
    if (!db_query(db, sql, DB_PARAMS(id), &rows, err))
        return false;
    if (db_affected(rows) == 0)
        return error_set(err, ERROR_NOT_FOUND, "token %s was revoked already", id);
    return true;
}

static bool note_use(struct db *db, const char *id, struct error *err)
{
    static const char sql[] =
        "UPDATE api_token SET last_used_at = now() WHERE id = $1"
        " AND (last_used_at IS NULL OR last_used_at <= now() - interval '1 minute')";
    return db_query(db, sql, DB_PARAMS(id), NULL, err);
}

bool token_find(struct db *db, const char *text, struct token *token, struct error *err)
{
    static const char sql[] =
        "SELECT id, name, role, pool_ids::text AS scope,"
        " coalesce(expires_at <= now(), false) AS is_expired,"
        " ceil(extract(epoch FROM expires_at - now()) * 1000)::bigint AS good_for_ms,"
        " coalesce(last_used_at <= now() - interval '1 minute', true) AS is_use_due"
        " FROM api_token WHERE hash = $1 AND revoked_at IS NULL";
    char hash[65];
    x509_sha256_hex(text, strlen(text), hash);
    auto_db_rows struct db_rows *rows = NULL;
    if (!db_query(db, sql, DB_PARAMS(hash), &rows, err))
        return false;
    if (db_count(rows) == 0)
        return error_set(err, ERROR_REFUSED, "the bearer token is not known or was revoked");
    if (db_value_bool(rows, 0, "is_expired"))
        return error_set(err, ERROR_REFUSED, "the bearer token has expired");
    struct token found = {0};
    memcpy(found.id, db_value(rows, 0, "id"), UUID_SIZE);
    if (!token_role_parse(db_value(rows, 0, "role"), &found.role, err) ||
        (db_value_bool(rows, 0, "is_use_due") && !note_use(db, found.id, err)))
        return false;
    snprintf(found.name, sizeof found.name, "%s", db_value(rows, 0, "name"));
    const char *scope = db_value(rows, 0, "scope");
    found.scope = scope ? memory_copy_text(scope) : NULL;
    found.good_for_ms = db_value_int(rows, 0, "good_for_ms");
    *token = found;
    return true;
}
