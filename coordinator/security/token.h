/* API tokens: random text that is shown once; the database holds its SHA-256. */
#pragma once

#include "base/error.h"
#include "base/uuid.h"

struct db;

enum token_role { TOKEN_VIEWER, TOKEN_OPERATOR, TOKEN_ADMIN }; /* each may what those before may */
extern const char *const token_role_names[];                   /* NULL-terminated */
bool token_role_parse(const char *word, enum token_role *role, struct error *err) must_check;

#define TOKEN_TEXT_SIZE 69 /* "cpt_", 64 hex digits, NUL */

/* Who calls. `scope` (owned) is what a token that is limited to pools may see: their ids, sorted, as
 * a PostgreSQL array of uuids for the statements of the store; NULL is no limit. Two tokens of the
 * same role and scope get the same answers. */
struct token {
    char id[UUID_SIZE];
    char name[129]; /* "" = nobody */
    enum token_role role;
    char *scope;
};
void token_done(struct token *token);

/* ERROR_CONFLICT when a token of this name is in use. */
bool token_create(struct db *db, const char *name, enum token_role role, char text[TOKEN_TEXT_SIZE],
                  struct error *err) must_check;
/* ERROR_NOT_FOUND when no token of this name is in use. */
bool token_revoke(struct db *db, const char *name, struct error *err) must_check;
/* Who shows this text; ERROR_REFUSED when it is nobody's. Free with token_done. */
bool token_find(struct db *db, const char *text, struct token *token, struct error *err) must_check;
