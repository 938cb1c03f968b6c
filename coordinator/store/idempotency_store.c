/* Rows of the table idempotency; see idempotency_store.h. */
#include "coordinator/store/idempotency_store.h"

#include "base/memory.h"

#include <stdio.h>
#include <stdlib.h>

void idempotency_record_done(struct idempotency_record *record)
{
    free(record->sealed_body);
    record->sealed_body = NULL;
}

/* The second number sets these locks apart from others in the database, and any would do. */
static const char sql_lock[] = "SELECT pg_try_advisory_xact_lock("
                               "hashtextextended($1::text || '/' || $2::text, 640117)) AS is_taken";

bool idempotency_store_lock(struct db *db, const char *token, const char *key, bool *is_taken,
                            struct error *err)
{
    auto_db_rows struct db_rows *rows = NULL;
    if (!db_query(db, sql_lock, DB_PARAMS(token, key), &rows, err))
        return false;
    *is_taken = db_value_bool(rows, 0, "is_taken");
    return true;
}

static const char sql_find[] =
    "SELECT request_hash, status, content_type, location, retry_after_s, sealed_body"
    " FROM idempotency WHERE token_id = $1 AND key = $2 AND expires_at > now()";

bool idempotency_store_find(struct db *db, const char *token, const char *key,
                            struct idempotency_record *record, bool *is_found, struct error *err)
{
    auto_db_rows struct db_rows *rows = NULL;
    if (!db_query(db, sql_find, DB_PARAMS(token, key), &rows, err))
        return false;
    *is_found = db_count(rows) == 1;
    if (!*is_found)
        return true;
    struct idempotency_record found = {.status = (int)db_value_int(rows, 0, "status"),
                                       .retry_after_s =
                                           (int)db_value_int(rows, 0, "retry_after_s")};
    const char *sealed = db_value(rows, 0, "sealed_body");
    snprintf(found.request_hash, sizeof found.request_hash, "%s",
             db_value(rows, 0, "request_hash"));
    snprintf(found.content_type, sizeof found.content_type, "%s",
             db_value(rows, 0, "content_type"));
    snprintf(found.location, sizeof found.location, "%s", db_value(rows, 0, "location"));
    found.sealed_body = sealed ? memory_copy_text(sealed) : NULL;
    *record = found;
    return true;
}

/* A row that is there has expired: whoever keeps an answer holds the lock and found none. */
static const char sql_keep[] =
    "INSERT INTO idempotency (token_id, key, request_hash, status, content_type, location,"
    " retry_after_s, sealed_body) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"
    " ON CONFLICT (token_id, key) DO UPDATE SET request_hash = excluded.request_hash,"
    " status = excluded.status, content_type = excluded.content_type,"
    " location = excluded.location, retry_after_s = excluded.retry_after_s,"
    " sealed_body = excluded.sealed_body, created_at = excluded.created_at,"
    " expires_at = excluded.expires_at";

bool idempotency_store_keep(struct db *db, const char *token, const char *key,
                            const struct idempotency_record *record, struct error *err)
{
    struct db_text status = db_int(record->status);
    struct db_text retry_after_s = db_int(record->retry_after_s);
    return db_query(db, sql_keep,
                    DB_PARAMS(token, key, record->request_hash, status.text, record->content_type,
                              record->location, retry_after_s.text, record->sealed_body),
                    NULL, err);
}

static const char sql_sweep[] =
    "DELETE FROM idempotency WHERE (token_id, key) IN (SELECT token_id, key FROM idempotency"
    " WHERE expires_at <= now() ORDER BY expires_at LIMIT 1000 FOR UPDATE SKIP LOCKED)";

bool idempotency_store_sweep(struct db *db, struct error *err)
{
    return db_query(db, sql_sweep, 0, NULL, NULL, err);
}
