/* The table ledger; see ledger.h. */
#include "coordinator/store/ledger.h"

#include "base/cleanup.h"
#include "base/log.h"

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
    "UPDATE ledger SET is_removed = true, changed_at = now()"
    " WHERE migration_id = $1 AND host_id = $2 AND sequence IS NULL AND NOT is_removed";

bool ledger_settle(struct db *db, const char *migration, const char *host, struct error *err)
{
    return db_query(db, sql_settle, DB_PARAMS(migration, host), NULL, err);
}

/* The cursor is the last object's place in the order, because a ledger row has no id of its own. */
static const char sql_leftovers[] =
    "SELECT left_over.id, left_over.body FROM (SELECT"
    "  md5(concat_ws('/', l.migration_id, l.host_id, l.kind, l.reference))::uuid AS id,"
    "  h.pool_id, json_build_object('migration', l.migration_id, 'migration_state', m.state,"
    "   'host', h.id, 'host_name', h.name, 'kind', l.kind, 'reference', l.reference,"
    "   'since', l.created_at) AS body"
    "  FROM ledger l JOIN host h ON h.id = l.host_id LEFT JOIN migration m ON m.id = l.migration_id"
    "  WHERE NOT l.is_removed AND (m.id IS NULL OR m.ended_at IS NOT NULL)) AS left_over"
    " WHERE ($1::uuid IS NULL OR left_over.id > $1)"
    " AND ($3::uuid[] IS NULL OR left_over.pool_id = ANY ($3)) ORDER BY left_over.id LIMIT $2";

bool ledger_leftovers(struct db *db, const struct page *page, char **text, struct error *err)
{
    return page_query(db, sql_leftovers, page, 1, (const char *[]){page->scope}, text, err);
}
