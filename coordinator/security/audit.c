/* Rows of the table audit; see audit.h. */
#include "coordinator/security/audit.h"

#include "base/memory.h"
#include "coordinator/db/db.h"

#include <stdio.h>
#include <stdlib.h>

void audit_change_set(struct audit_change *change, const char *kind, const char *id,
                      const char *before, const char *after)
{
    audit_change_done(change);
    change->kind = kind;
    snprintf(change->id, sizeof change->id, "%s", id);
    change->before = before ? memory_copy_text(before) : NULL;
    change->after = after ? memory_copy_text(after) : NULL;
}

void audit_change_done(struct audit_change *change)
{
    free(change->before);
    free(change->after);
    *change = (struct audit_change){0};
}

bool audit_write(struct db *db, const struct audit_actor *actor, const struct audit_change *change,
                 struct error *err)
{
    static const char sql[] =
        "INSERT INTO audit (actor_kind, actor_name, token_id, request_id, operation, object_kind,"
        " object_id, before, after, status)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8::jsonb, $9::jsonb, nullif($10::integer, 0))";
    struct db_text status = db_int(actor->status);
    return db_query(db, sql,
                    DB_PARAMS(actor->kind, actor->name, actor->token, actor->request,
                              actor->operation, change->kind, change->id, change->before,
                              change->after, status.text),
                    NULL, err) ||
           error_prefix(err, "audit log");
}

bool audit_forget(struct db *db, int64_t older_than_s, int64_t *removed, struct error *err)
{
    static const char sql[] =
        "SELECT audit_forget(justify_hours(make_interval(secs => $1::bigint))) AS removed";
    auto_db_rows struct db_rows *rows = NULL;
    struct db_text seconds = db_int(older_than_s);
    if (!db_query(db, sql, DB_PARAMS(seconds.text), &rows, err))
        return error_prefix(err, "audit log");
    *removed = db_value_int(rows, 0, "removed");
    return true;
}
