/* API tokens: random text that is shown once; the database holds its SHA-256. */
#pragma once

#include "base/error.h"
#include "base/uuid.h"

struct db;

enum token_role { TOKEN_VIEWER, TOKEN_OPERATOR, TOKEN_ADMIN }; /* each may what those before may */
extern const char *const token_role_names[];                   /* NULL-terminated */
bool token_role_parse(const char *word, enum token_role *role, struct error *err) must_check;

#define TOKEN_TEXT_SIZE 69 /* "cpt_", 64 hex digits, NUL */

struct token {
    char id[UUID_SIZE];
    char name[129];
    enum token_role role;
};

/* ERROR_CONFLICT when a token of this name is in use. */
bool token_create(struct db *db, const char *name, enum token_role role, char text[TOKEN_TEXT_SIZE],
                  struct error *err) must_check;
/* ERROR_NOT_FOUND when no token of this name is in use. */
bool token_revoke(struct db *db, const char *name, struct error *err) must_check;
/* Who shows this text; ERROR_REFUSED when it is nobody's. */
bool token_find(struct db *db, const char *text, struct token *token, struct error *err) must_check;
