/* The table ledger; see ledger.h. */
#include "coordinator/store/ledger.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "coordinator/store/page_sql.h"

#include <string.h>

static const char sql_plan[] =
    "INSERT INTO ledger (migration_id, host_id, kind, reference)"
    " SELECT $1::uuid, $2::uuid, p.kind, p.reference FROM (SELECT 'vdi' AS kind,"
    "   (d.disk #>> '{destination,sr}') || '/' || (d.disk #>> '{destination,vdi}') AS reference"
    "  FROM jsonb_array_elements($3::jsonb -> 'disks') AS d(disk)"
    "  UNION ALL SELECT 'domain', $3::jsonb ->> 'domain') AS p"
    " ON CONFLICT (migration_id, host_id, kind, reference) DO UPDATE"
    " SET is_removed = false, sequence = NULL, changed_at = now() WHERE ledger.is_removed";

bool ledger_plan(struct db *db, const struct migration_spec *spec, struct error *err)
{
    auto_free char *json = json_encode_text(migration_spec_fields, spec);
    return db_query(db, sql_plan, DB_PARAMS(spec->migration, spec->destination.id, json), NULL,
                    err);
}

/* Migrations that this host never had a part in: neither an end of them now nor given a step of
 * them before. One that is unknown here is none of them: a host may report what a lost database
 * knew. */
static const char sql_foreign[] =
    "SELECT coalesce(array_agg(DISTINCT m.id), '{}')::text AS ids"
    " FROM jsonb_to_recordset($2::jsonb) AS e(migration uuid) JOIN migration m ON m.id = "
    "e.migration"
    " WHERE $1::uuid NOT IN (m.source_host_id, m.destination_host_id)"
    " AND NOT EXISTS (SELECT FROM step s WHERE s.migration_id = m.id AND s.host_id = $1)";

/* The last change of an object decides, in case a report holds several. */
static const char sql_report[] =
    "INSERT INTO ledger (migration_id, host_id, kind, reference, sequence, is_removed)"
    " SELECT DISTINCT ON (e.migration, e.kind, e.reference) e.migration, $1::uuid, e.kind,"
    " e.reference, e.sequence, e.is_removed"
    " FROM jsonb_to_recordset($2::jsonb) AS e(migration uuid, kind text, reference text,"
    " sequence bigint, is_removed boolean) WHERE e.migration <> ALL ($3::uuid[])"
    " ORDER BY e.migration, e.kind, e.reference, e.sequence DESC"
    " ON CONFLICT (migration_id, host_id, kind, reference) DO UPDATE"
    " SET sequence = excluded.sequence, is_removed = excluded.is_removed, changed_at = now()"
    " WHERE ledger.sequence IS NULL OR ledger.sequence < excluded.sequence";

bool ledger_report(struct db *db, const char *host, const struct json_array *entries,
                   struct error *err)
{
    if (entries->count == 0)
        return true;
    /* the report's own table encodes the entries; the statement reads its "ledger" */
    struct agent_report report = {.ledger = *entries};
    json_auto_t *object = json_encode(agent_report_fields, &report);
    auto_free char *json = json_dumps(json_object_get(object, "ledger"), JSON_COMPACT);
    auto_db_rows struct db_rows *rows = NULL;
    if (!db_query(db, sql_foreign, DB_PARAMS(host, json), &rows, err))
        return false;
    const char *foreign = db_value(rows, 0, "ids");
    if (strcmp(foreign, "{}") != 0)
        log_warning("host %s reports objects of migrations that are none of its own, which is "
                    "ignored: %.200s",
                    host, foreign);
    return db_query(db, sql_report, DB_PARAMS(host, json, foreign), NULL, err);
}

static const char sql_settle[] =
    "UPDATE ledger l SET is_removed = true, changed_at = now()"
    " FROM unnest((SELECT $1::uuid[]), (SELECT $2::uuid[])) AS r(migration, host) WHERE "
    "l.migration_id = r.migration"
    " AND l.host_id = r.host AND l.sequence IS NULL AND NOT l.is_removed";

bool ledger_settle(struct db *db, const char *migration, const char *host, struct error *err)
{
    return db_post_row(db, sql_settle, DB_PARAMS(migration, host), err);
}

/* A ledger row has no id of its own: the id is made of what tells it apart. */
static const char sql_leftovers[] =
    "SELECT l.id, json_build_object('id', l.id, 'migration', l.migration_id, 'migration_state',"
    "  m.state, 'host', h.id, 'host_name', h.name, 'kind', l.kind, 'reference', l.reference,"
    "  'since', l.created_at) AS body"
    " FROM (SELECT migration_id, host_id, kind, reference, created_at, md5(concat_ws('/', "
    "migration_id, host_id, kind, reference))::uuid AS id"
    "  FROM ledger WHERE NOT is_removed) AS l"
    " JOIN host h ON h.id = l.host_id LEFT JOIN migration m ON m.id = l.migration_id"
    " WHERE (m.id IS NULL OR m.ended_at IS NOT NULL) AND " PAGE_IN_SCOPE(
        "$1", "h.pool_id") " AND " PAGE_ON_HOST("$2", "h.id") " AND ($3::text IS NULL OR "
                                                              "l.migration_id = $3::uuid)"
                                                              " AND " PAGE_IS("$4", "l.kind");
static const struct page_filter leftover_filters[] = {
    {"host", PAGE_TEXT, NULL},
    {"migration", PAGE_UUID, NULL},
    {"kind", PAGE_TEXT, NULL},
    {0},
};
static const struct page_sort leftover_sorts[] = {
    {"id", "l.id", "uuid"},
    {"since", "l.created_at", "timestamptz"},
    {"host_name", "h.name", "text"},
    {"kind", "l.kind", "text"},
    {0},
};
static const char *const leftover_fields[] = {
    "id", "migration", "migration_state", "host", "host_name", "kind", "reference", "since", NULL};
const struct page_list leftover_list = {.name = "leftovers",
                                        .sql = sql_leftovers,
                                        .own = 1,
                                        .id = "l.id",
                                        .filters = leftover_filters,
                                        .sorts = leftover_sorts,
                                        .fields = leftover_fields};
