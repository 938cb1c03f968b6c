/* Flags of hosts and pools; see maintenance_store.h. */
#include "coordinator/store/maintenance_store.h"

/* Whoever begins or ends an evacuation's or an operator's maintenance locks the pools first, then
 * the hosts, each by id (evacuation_store_insert), so that none sees the other half-way. */
static const char sql_lock_pools[] =
    "SELECT p.id FROM pool p WHERE p.id = $1"
    " OR p.id = (SELECT h.pool_id FROM host h WHERE h.id = $1) FOR NO KEY UPDATE";

static const char sql_lock_hosts[] = "SELECT h.id FROM host h WHERE h.id = $1 FOR NO KEY UPDATE";

static bool lock(struct db *db, const char *id, struct error *err)
{
    return db_query(db, sql_lock_pools, DB_PARAMS(id), NULL, err) &&
           db_query(db, sql_lock_hosts, DB_PARAMS(id), NULL, err);
}

static const char sql_host[] =
    "UPDATE host SET in_maintenance = $2::boolean WHERE id = $1 AND in_maintenance <> $2::boolean";

static const char sql_pool[] =
    "UPDATE pool SET in_maintenance = $2::boolean WHERE id = $1 AND in_maintenance <> $2::boolean";

static const char sql_emptied[] =
    "SELECT e.id FROM evacuation e WHERE e.ended_at IS NULL AND e.state <> 'rolling-back'"
    " AND EXISTS (SELECT FROM jsonb_array_elements_text(e.request -> 'hosts') AS emptied(id)"
    "  JOIN host h ON h.id = emptied.id::uuid WHERE h.id = $1 OR h.pool_id = $1) LIMIT 1";

static bool check_end(struct db *db, const char *id, struct error *err)
{
    auto_db_rows struct db_rows *rows = NULL;
    if (!db_query(db, sql_emptied, DB_PARAMS(id), &rows, err))
        return false;
    return db_count(rows) == 0 ||
           error_set(err, ERROR_CONFLICT,
                     "evacuation %s empties it: wait for its end, or cancel it (POST "
                     "/v1/evacuations/%s/cancel)",
                     db_value(rows, 0, "id"), db_value(rows, 0, "id"));
}

bool maintenance_store_set(struct db *db, enum maintenance_kind kind, const char *id,
                           bool is_in_maintenance, struct error *err)
{
    const char *sql = kind == MAINTENANCE_HOST ? sql_host : sql_pool;
    return lock(db, id, err) && (is_in_maintenance || check_end(db, id, err)) &&
           db_query(db, sql, DB_PARAMS(id, db_bool(is_in_maintenance)), NULL, err);
}
