/* The table `change` (db/migrations/0012_changes.sql), read snapshot by snapshot. */
#include "coordinator/db/db_change_reader.h"

#include "base/clock.h"
#include "base/memory.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    TOPICS_MOST = 1000,
    /* Rows stay for at least KEEP_MS after all saw them. Who has not looked for STALE_MS takes
     * everything for changed, long before a row that he has not seen may be gone. */
    STALE_MS = 5000,
    KEEP_MS = 20000,
};

static void keep_snapshot(struct db_change_reader *reader, const struct db_rows *rows,
                          int64_t asked_ms)
{
    free(reader->snapshot);
    reader->snapshot = memory_copy_text(db_value(rows, 0, "snapshot"));
    reader->asked_ms = asked_ms;
}

static void keep_xmin(struct db_change_reader *reader, const struct db_rows *rows, int64_t now_ms)
{
    snprintf(reader->old_xmin, sizeof reader->old_xmin, "%s", db_value(rows, 0, "xmin"));
    reader->old_ms = now_ms;
}

static const char sql_begin[] =
    "SELECT s.snapshot::text AS snapshot, pg_snapshot_xmin(s.snapshot)::text AS xmin"
    " FROM (SELECT pg_current_snapshot() AS snapshot) AS s";

bool db_change_reader_begin(struct db_change_reader *reader, struct db *db, struct error *err)
{
    auto_db_rows struct db_rows *rows = NULL;
    int64_t now_ms = clock_monotonic_ms();
    if (!db_query(db, sql_begin, 0, NULL, &rows, err))
        return false;
    keep_snapshot(reader, rows, now_ms);
    keep_xmin(reader, rows, now_ms);
    return true;
}

/* A row that the snapshot before did not see is of a transaction that it took for running or did
 * not know yet, so it is not below its xmin; that is what the index is for. */
static const char sql_read[] =
    "SELECT s.snapshot::text AS snapshot, pg_snapshot_xmin(s.snapshot)::text AS xmin, c.topic"
    " FROM (SELECT pg_current_snapshot() AS snapshot) AS s LEFT JOIN"
    " (SELECT DISTINCT topic FROM change WHERE transaction >= pg_snapshot_xmin($1::pg_snapshot)"
    "  AND NOT pg_visible_in_snapshot(transaction, $1::pg_snapshot) LIMIT $2) AS c ON true";

static const char sql_forget[] = "DELETE FROM change WHERE transaction < $1::xid8";

static bool forget(struct db_change_reader *reader, struct db *db, const struct db_rows *rows,
                   int64_t now_ms, struct error *err)
{
    if (now_ms - reader->old_ms < KEEP_MS)
        return true;
    if (!db_query(db, sql_forget, DB_PARAMS(reader->old_xmin), NULL, err))
        return false;
    keep_xmin(reader, rows, now_ms);
    return true;
}

bool db_change_reader_read(struct db_change_reader *reader, struct db *db, db_on_wake *tell,
                           void *context, int64_t *until_ms, struct error *err)
{
    auto_db_rows struct db_rows *rows = NULL;
    struct db_text most = db_int(TOPICS_MOST + 1);
    int64_t now_ms = clock_monotonic_ms();
    if (!db_query(db, sql_read, DB_PARAMS(reader->snapshot, most.text), &rows, err))
        return false;
    int count = db_value(rows, 0, "topic") ? db_count(rows) : 0;
    if (count > TOPICS_MOST || clock_monotonic_ms() - reader->asked_ms > STALE_MS)
        tell(context, DB_CHANNEL_CHANGED, "");
    else
        for (int i = 0; i < count; i++)
            tell(context, DB_CHANNEL_CHANGED, db_value(rows, i, "topic"));
    keep_snapshot(reader, rows, now_ms);
    *until_ms = now_ms;
    return forget(reader, db, rows, now_ms, err);
}

void db_change_reader_done(struct db_change_reader *reader)
{
    free(reader->snapshot);
    *reader = (struct db_change_reader){0};
}
