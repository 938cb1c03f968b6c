/* API tokens: random text that is shown once; the database holds its SHA-256. */
#pragma once

#include "base/error.h"
#include "base/uuid.h"

#include <stdint.h>

struct db;

enum token_role { TOKEN_VIEWER, TOKEN_OPERATOR, TOKEN_ADMIN }; /* each may what those before may */
extern const char *const token_role_names[];                   /* NULL-terminated */
bool token_role_parse(const char *word, enum token_role *role, struct error *err) must_check;

#define TOKEN_TEXT_SIZE 69 /* "cpt_", 64 hex digits, NUL */

/* Who calls. `scope` (owned) is what a token that is limited to pools may see: their ids, sorted,
 * as a PostgreSQL array of uuids for the statements of the store; NULL is no limit. Two tokens of
 * the same role and scope get the same answers. */
struct token {
    char id[UUID_SIZE];
    char name[129]; /* "" = nobody */
    enum token_role role;
    char *scope;
    int64_t good_for_ms; /* when it was looked up, until it expires; 0 = for ever */
};
void token_done(struct token *token);
/* Frees what *to held. */
void token_copy(struct token *to, const struct token *from);

struct token_new {
    const char *name;
    enum token_role role;
    const char *scope;      /* of scope_make, or NULL = everything */
    const char *expires_at; /* RFC 3339 or any other timestamptz in the future; NULL = never */
};
/* The text is nowhere else. ERROR_CONFLICT when a token of this name is in use. */
bool token_create(struct db *db, const struct token_new *wanted, char id[UUID_SIZE],
                  char text[TOKEN_TEXT_SIZE], struct error *err) must_check;
/* The token of this id, or of this name and not revoked. ERROR_NOT_FOUND: there is none. */
bool token_find_id(struct db *db, const char *id_or_name, char id[UUID_SIZE],
                   struct error *err) must_check;
/* It is nobody's from now on. ERROR_NOT_FOUND when it is revoked already. */
bool token_revoke(struct db *db, const char *id, struct error *err) must_check;
/* Who shows this text, and that it was used now (kept to the minute). ERROR_REFUSED when it is
 * nobody's or has expired. Free with token_done. */
bool token_find(struct db *db, const char *text, struct token *token, struct error *err) must_check;
