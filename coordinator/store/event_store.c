/* Events in the database; see event_store.h. */
#include "coordinator/store/event_store.h"

static const char sql_bounds[] =
    "SELECT coalesce((SELECT min(e.sequence) FROM event e), c.last + 1) AS oldest,"
    " c.last AS newest FROM event_counter c";

bool event_store_bounds(struct db *db, struct event_bounds *bounds, struct error *err)
{
    auto_db_rows struct db_rows *rows = NULL;
    if (!db_query(db, sql_bounds, 0, NULL, &rows, err))
        return false;
    if (db_count(rows) != 1)
        return error_set(err, ERROR_INTERNAL, "the table event_counter has no row");
    bounds->oldest = db_value_int(rows, 0, "oldest");
    bounds->newest = db_value_int(rows, 0, "newest");
    return true;
}

static const char sql_is_pending[] =
    "SELECT EXISTS (SELECT FROM event WHERE sequence IS NULL) AS is_pending";

bool event_store_is_pending(struct db *db, bool *is_pending, struct error *err)
{
    auto_db_rows struct db_rows *rows = NULL;
    if (!db_query(db, sql_is_pending, 0, NULL, &rows, err))
        return false;
    *is_pending = db_value_bool(rows, 0, "is_pending");
    return true;
}

static const char sql_lock[] = "SELECT last FROM event_counter FOR UPDATE SKIP LOCKED";

bool event_store_lock(struct db *db, bool *is_mine, int64_t *last, struct error *err)
{
    auto_db_rows struct db_rows *rows = NULL;
    if (!db_query(db, sql_lock, 0, NULL, &rows, err))
        return false;
    *is_mine = db_count(rows) == 1;
    if (*is_mine)
        *last = db_value_int(rows, 0, "last");
    return true;
}

static const char sql_number[] =
    "UPDATE event SET sequence = fresh.sequence FROM"
    " (SELECT u.id, $1::bigint + row_number() OVER (ORDER BY u.id) AS sequence FROM"
    "  (SELECT e.id FROM event e WHERE e.sequence IS NULL ORDER BY e.id LIMIT $2) AS u) AS fresh"
    " WHERE event.id = fresh.id";

static const char sql_count[] = "UPDATE event_counter SET last = last + $1::bigint";

bool event_store_number(struct db *db, int64_t last, int limit, int64_t *count, struct error *err)
{
    auto_db_rows struct db_rows *rows = NULL;
    struct db_text base = db_int(last);
    struct db_text most = db_int(limit);
    if (!db_query(db, sql_number, DB_PARAMS(base.text, most.text), &rows, err))
        return false;
    struct db_text made = db_int(db_affected(rows));
    if (!db_query(db, sql_count, DB_PARAMS(made.text), NULL, err))
        return false;
    db_notify(db, "event_numbered", "");
    *count = db_affected(rows);
    return true;
}

static const char sql_read[] =
    "SELECT e.sequence, e.kind, e.resource, e.resource_id, e.pools::text AS pools,"
    " event_json(e) AS data FROM event e"
    " WHERE e.sequence > $1::bigint AND e.sequence <= $2::bigint"
    " AND ($4::text IS NULL OR e.resource = $4)"
    " AND ($5::uuid IS NULL OR e.resource_id = $5)"
    " AND ($6::uuid IS NULL OR $6 = ANY (e.pools))"
    " AND ($7::uuid[] IS NULL OR e.resource = 'mapping-sets'"
    "  OR CASE WHEN e.resource = 'evacuations' THEN e.pools <@ $7 ELSE e.pools && $7 END)"
    " ORDER BY e.sequence LIMIT $3";

static const char *or_null(const char *text)
{
    return text[0] ? text : NULL;
}

bool event_store_read(struct db *db, const struct event_filter *filter, int64_t after, int64_t upto,
                      int limit, struct db_rows **rows, struct error *err)
{
    struct db_text from = db_int(after);
    struct db_text to = db_int(upto);
    struct db_text most = db_int(limit);
    return db_query(db, sql_read,
                    DB_PARAMS(from.text, to.text, most.text, or_null(filter->resource),
                              or_null(filter->id), or_null(filter->pool), filter->scope),
                    rows, err);
}

/* The first one to keep is looked for in order of sequence, so that no gap appears above an old
 * event whose number came late. */
static const char sql_expire[] =
    "WITH kept AS (SELECT coalesce((SELECT e.sequence FROM event e WHERE e.sequence IS NOT NULL"
    "  AND e.at >= now() - make_interval(hours => $1::integer) ORDER BY e.sequence LIMIT 1),"
    "  (SELECT c.last + 1 FROM event_counter c)) AS first)"
    " DELETE FROM event WHERE sequence IN (SELECT e.sequence FROM event e"
    "  WHERE e.sequence < (SELECT first FROM kept) ORDER BY e.sequence LIMIT $2)";

bool event_store_expire(struct db *db, int hours, int limit, struct error *err)
{
    struct db_text age = db_int(hours);
    struct db_text most = db_int(limit);
    return db_query(db, sql_expire, DB_PARAMS(age.text, most.text), NULL, err);
}
