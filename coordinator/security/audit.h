/* The audit log: who changed what, one row a change, in the transaction of the change. Rows are
 * only ever added; the schema refuses anything else. */
#pragma once

#include "base/error.h"

#include <stdint.h>

struct db;

/* What was changed. The texts of a change that somebody kept (audit_change_set) are owned by it. */
struct audit_change {
    const char *kind;     /* "pool", "host", "migration" ...; NULL: nothing was changed */
    char id[129];         /* of the object */
    char *before, *after; /* JSON without any secret, NULL = not there */
};
/* Copies the texts; what was kept before goes. */
void audit_change_set(struct audit_change *change, const char *kind, const char *id,
                      const char *before, const char *after);
void audit_change_done(struct audit_change *change);

/* Who changed it, and how. */
struct audit_actor {
    const char *kind;      /* "token", "host", "cli" */
    const char *name;      /* the token's, the host's id, the system user's */
    const char *token;     /* id, or NULL */
    const char *request;   /* id, or NULL */
    const char *operation; /* "POST /v1/pools", "token create" */
    int status;            /* of the answer; 0 = none */
};

/* Inside the transaction of the change. */
bool audit_write(struct db *db, const struct audit_actor *actor, const struct audit_change *change,
                 struct error *err) must_check;

/* Removes what is older, AUDIT_KEPT_DAYS or more; leaves a row that tells of it. */
enum { AUDIT_KEPT_DAYS = 30 };
bool audit_forget(struct db *db, int64_t older_than_s, int64_t *removed,
                  struct error *err) must_check;
