/* API tokens in the table api_token; see token.h. */
#include "coordinator/security/token.h"

#include "base/x509.h"
#include "coordinator/db/db.h"
#include "coordinator/security/name.h"

#include <stdio.h>
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

bool token_create(struct db *db, const char *name, enum token_role role, char text[TOKEN_TEXT_SIZE],
                  struct error *err)
{
    static const char sql[] = "INSERT INTO api_token (name, role, hash) VALUES ($1, $2, $3)";
    char made[TOKEN_TEXT_SIZE] = "cpt_";
    char hash[65];
    if (!name_check("token", name, err))
        return false;
    x509_random_hex(32, made + 4);
    x509_sha256_hex(made, strlen(made), hash);
    if (!db_query(db, sql, DB_PARAMS(name, token_role_names[role], hash), NULL, err)) {
        if (err->code == ERROR_CONFLICT)
            return error_set(err, ERROR_CONFLICT, "a token named %s is in use; revoke it first",
                             name);
        return false;
    }
    memcpy(text, made, sizeof made);
    return true;
}

bool token_revoke(struct db *db, const char *name, struct error *err)
{
    static const char sql[] =
        "UPDATE api_token SET revoked_at = now() WHERE name = $1 AND revoked_at IS NULL";
    auto_db_rows struct db_rows *rows = NULL;
    if (!db_query(db, sql, DB_PARAMS(name), &rows, err))
        return false;
    if (db_affected(rows) == 0)
        return error_set(err, ERROR_NOT_FOUND, "no token named %.128s is in use", name);
    return true;
}

bool token_find(struct db *db, const char *text, struct token *token, struct error *err)
{
    static const char sql[] =
        "SELECT id, name, role FROM api_token WHERE hash = $1 AND revoked_at IS NULL";
    char hash[65];
    x509_sha256_hex(text, strlen(text), hash);
    auto_db_rows struct db_rows *rows = NULL;
    if (!db_query(db, sql, DB_PARAMS(hash), &rows, err))
        return false;
    if (db_count(rows) == 0)
        return error_set(err, ERROR_REFUSED, "the bearer token is not known or was revoked");
    struct token found = {0};
    if (!token_role_parse(db_value(rows, 0, "role"), &found.role, err))
        return false;
    snprintf(found.id, sizeof found.id, "%s", db_value(rows, 0, "id"));
    snprintf(found.name, sizeof found.name, "%s", db_value(rows, 0, "name"));
    *token = found;
    return true;
}
