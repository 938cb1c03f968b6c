/* Migrations as the API shows them, and the progress they show; see migration_store.h. */
#include "coordinator/store/migration_store.h"

#include "base/cleanup.h"
#include "protocol/agent_api.h"
#include "coordinator/store/page_sql.h"

/* What the background copies of one migration have sent so far. */
#define SENT(progress)                                                                             \
    " coalesce((SELECT sum(d.copied_bytes - coalesce(d.zero_bytes, 0))"                            \
    "  FROM jsonb_to_recordset(" progress " -> 'disks') AS d(copied_bytes bigint,"                 \
    "  zero_bytes bigint)), 0)"

/* What moves while a copy goes on. */
#define MOVES(progress)                                                                            \
    "jsonb_path_query_array(" progress ", '$.disks[*].copied_bytes')"                              \
    " || jsonb_path_query_array(" progress ", '$.disks[*].mirror_epoch')"

/* clang-format off */
static const char sql_progress[] =
    "WITH reported AS (SELECT DISTINCT ON (m.id) m.id, p.progress"
    "  FROM jsonb_array_elements($2::jsonb) WITH ORDINALITY AS p(progress, position)"
    "  JOIN migration m ON m.id = (p.progress ->> 'migration')::uuid"
    "   AND m.source_host_id = $1 AND m.ended_at IS NULL"
    "  ORDER BY m.id, p.position DESC),"
    " sent AS (SELECT" SENT("r.progress") " - " SENT("b.progress") " AS bytes"
    "  FROM reported r LEFT JOIN migration_progress b ON b.migration_id = r.id),"
    " written AS (INSERT INTO migration_progress (migration_id, progress)"
    "  SELECT id, progress FROM reported"
    "  ON CONFLICT (migration_id) DO UPDATE SET progress = excluded.progress, changed_at = now(),"
    "  moved_at = CASE WHEN (" MOVES("migration_progress.progress") ") = ("
    MOVES("excluded.progress") ") THEN migration_progress.moved_at ELSE now() END"
    "  WHERE migration_progress.progress IS DISTINCT FROM excluded.progress)"
    " SELECT coalesce(sum(greatest(bytes, 0)), 0)::bigint AS sent FROM sent";
/* clang-format on */

bool migration_store_progress(struct db *db, const char *host, const struct json_array *progress,
                              int64_t *sent_bytes, struct error *err)
{
    *sent_bytes = 0;
    if (progress->count == 0)
        return true;
    struct agent_report report = {.progress = *progress};
    json_auto_t *object = json_encode(agent_report_fields, &report);
    auto_free char *json = json_dumps(json_object_get(object, "progress"), JSON_COMPACT);
    auto_db_rows struct db_rows *rows = NULL;
    if (!db_query(db, sql_progress, DB_PARAMS(host, json), &rows, err))
        return false;
    *sent_bytes = db_value_int(rows, 0, "sent");
    return true;
}

#define IS_LOST(host, seconds)                                                                     \
    host ".last_seen < now() - make_interval(secs => " seconds "::integer)"

/* What a ready VM waits for. */
#define UTC(time)   "to_char(" time " AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"
#define SWITCH_OVER "POST /v1/migrations/' || m.id || '/switchover"
#define HOLDS                                                                                      \
    "CASE WHEN m.is_switchover_requested OR m.switchover = 'automatic' THEN NULL"                  \
    " WHEN m.switchover = 'manual' THEN coalesce((SELECT 'its turn to switch over: evacuation '"   \
    "  || e.evacuation_id || ' (" SWITCH_OVER " lets it go now)' FROM evacuation_vm e"             \
    "  WHERE e.migration_id = m.id AND e.state = 'moving' LIMIT 1), 'an operator: " SWITCH_OVER    \
    "')"                                                                                           \
    " WHEN m.switchover_from > now() THEN 'its switch-over window, which opens at ' || " UTC(      \
        "m.switchover_from") " WHEN m.switchover_until <= now() THEN 'an operator: its "           \
                             "switch-over window closed at ' || " UTC(                             \
                                 "m.switchover_until") " || ' (" SWITCH_OVER ")' END"

/* What it waits for is derived where it can be: hosts that are away, the agent's own words. */
#define WAITS_FOR(seconds)                                                                         \
    "CASE WHEN m.ended_at IS NOT NULL THEN NULL"                                                   \
    " WHEN m.state <> 'queued' AND " IS_LOST(                                                      \
        "sh", seconds) " THEN 'host ' || sh.name || ' (source), which does not report'"            \
                       " WHEN m.state <> 'queued' AND " IS_LOST(                                   \
                           "dh", seconds) " THEN 'host ' || dh.name || ' (destination), which "    \
                                          "does not report'"                                       \
                                          " WHEN m.is_copy_paused AND m.state IN ('queued', "      \
                                          "'preparing', 'transferring') THEN 'an operator: it is " \
                                          "paused (POST /v1/migrations/' || m.id || '/resume)'"    \
                                          " WHEN m.state = 'ready' THEN " HOLDS                    \
                                          " ELSE coalesce(m.waits_for, nullif(p.progress ->> "     \
                                          "'waits_for', ''), CASE WHEN m.state = 'queued' THEN "   \
                                          "'its turn: other migrations of its hosts go first' "    \
                                          "END) END"

#define DISKS                                                                                      \
    "(SELECT coalesce(json_agg(json_build_object('index', d.position - 1,"                         \
    " 'device', d.disk ->> 'device', 'source_sr', d.disk #>> '{source,sr}',"                       \
    " 'source_vdi', d.disk #>> '{source,vdi}', 'source_format', d.disk #>> '{source,format}',"     \
    " 'destination_sr', d.disk #>> '{destination,sr}',"                                            \
    " 'destination_vdi', d.disk #>> '{destination,vdi}',"                                          \
    " 'destination_format', d.disk #>> '{destination,format}',"                                    \
    " 'total_bytes', (d.disk ->> 'size_bytes')::bigint,"                                           \
    " 'copied_bytes', coalesce(c.copied_bytes, 0), 'zero_bytes', coalesce(c.zero_bytes, 0),"       \
    " 'mirrored_bytes', coalesce(c.mirrored_bytes, 0),"                                            \
    " 'resent_bytes', coalesce(c.resent_bytes, 0),"                                                \
    " 'rate_bytes_per_s', coalesce(c.rate_bytes_per_s, 0),"                                        \
    " 'eta_s', nullif(coalesce(c.eta_s, -1), -1),"                                                 \
    " 'mirror_epoch', coalesce(c.mirror_epoch, 0),"                                                \
    " 'is_mirrored', coalesce(c.is_mirrored, false), 'is_copied', coalesce(c.is_copied, false))"   \
    " ORDER BY d.position), '[]')"                                                                 \
    " FROM jsonb_array_elements(m.spec -> 'disks') WITH ORDINALITY AS d(disk, position)"           \
    " LEFT JOIN LATERAL jsonb_to_recordset(p.progress -> 'disks') AS c(index bigint,"              \
    "  copied_bytes bigint, zero_bytes bigint, mirrored_bytes bigint, resent_bytes bigint,"        \
    "  rate_bytes_per_s bigint, eta_s bigint, mirror_epoch bigint, is_mirrored boolean,"           \
    "  is_copied boolean) ON c.index = d.position - 1)"

#define STEPS                                                                                      \
    "(SELECT coalesce(json_agg(json_build_object('id', s.id, 'kind', s.kind, 'host', s.host_id,"   \
    " 'state', s.state, 'epoch', s.epoch, 'attempt', s.attempt, 'error',"                          \
    " CASE WHEN s.error_code IS NOT NULL THEN json_build_object('code', s.error_code,"             \
    "  'message', s.error_text) END, 'created_at', s.created_at, 'ended_at', s.ended_at)"          \
    " ORDER BY s.sequence), '[]') FROM step s WHERE s.migration_id = m.id)"

#define PHASE                                                                                      \
    "CASE WHEN m.ended_at IS NOT NULL THEN 'done' WHEN m.state = 'queued' THEN 'waiting'"          \
    " WHEN m.state IN ('preparing', 'cleaning', 'aborting') THEN m.state"                          \
    " ELSE coalesce(p.progress ->> 'phase', 'waiting') END"

/* Among all that are queued, from 1. */
#define POSITION                                                                                   \
    "CASE WHEN m.state = 'queued' THEN (SELECT count(*) + 1 FROM migration q"                      \
    " WHERE q.ended_at IS NULL AND q.state = 'queued' AND (q.priority > m.priority"                \
    "  OR (q.priority = m.priority AND q.sequence < m.sequence))) END"

#define SWITCHOVER                                                                                 \
    "json_build_object('when', m.switchover, 'not_before', m.switchover_from,"                     \
    " 'not_after', m.switchover_until, 'is_requested', m.is_switchover_requested)"

#define POLICY                                                                                     \
    "'priority', m.priority, 'position', " POSITION ", 'switchover', " SWITCHOVER ","              \
    " 'retries', m.retries, 'retries_used', m.retries_used,"                                       \
    " 'stall_timeout_s', m.stall_timeout_s, 'bandwidth_bytes_per_s', m.bandwidth_bytes_per_s,"     \
    " 'is_copy_paused', m.is_copy_paused, 'network', nullif(m.network, '')"

#define END(pool, host)                                                                            \
    "json_build_object('pool', " pool ".id, 'pool_name', " pool ".name,"                           \
    " 'host', " host ".id, 'host_name', " host ".name)"

#define BODY(seconds)                                                                              \
    "SELECT m.id, json_build_object('id', m.id, 'state', m.state, 'phase', " PHASE                 \
    ", 'mode', coalesce(m.spec ->> 'mode', 'live'), 'waits_for', " WAITS_FOR(                      \
        seconds) ", 'epoch', m.epoch, 'vm', m.vm_id,"                                              \
                 " 'destination_vm', m.destination_vm_id, 'domain', m.domain_uuid, 'name', "       \
                 "m.name,"                                                                         \
                 " 'source', " END("sp", "sh") ", 'destination', " END(                            \
                     "dp", "dh") ","                                                               \
                                 " 'mapping', m.mapping, 'disks', " DISKS ","                      \
                                 " 'memory', coalesce(p.progress -> 'memory', '{}'), 'pause_us', " \
                                 "m.pause_us,"                                                     \
                                 " 'longest_stall_ms', coalesce((p.progress ->> "                  \
                                 "'longest_stall_ms')::bigint, 0),"                                \
                                 " 'is_cancel_requested', m.is_cancel_requested, " POLICY          \
                                 ", 'error', CASE "                                                \
                                 "WHEN m.error_code IS NOT NULL"                                   \
                                 " THEN json_build_object('code', m.error_code, 'message', "       \
                                 "m.error_text) END,"                                              \
                                 " 'created_by', m.created_by, 'created_at', m.created_at, "       \
                                 "'started_at', m.started_at,"                                     \
                                 " 'ended_at', m.ended_at, 'steps', " STEPS                        \
                                 ") AS body FROM migration m"                                      \
                                 " JOIN host sh ON sh.id = m.source_host_id JOIN pool sp ON "      \
                                 "sp.id = m.source_pool_id"                                        \
                                 " JOIN host dh ON dh.id = m.destination_host_id JOIN pool dp ON " \
                                 "dp.id = m.destination_pool_id"                                   \
                                 " LEFT JOIN migration_progress p ON p.migration_id = m.id"

static const char sql_list[] =
    BODY("$1") " WHERE ($2::uuid[] IS NULL OR m.source_pool_id = ANY ($2)"
               "  OR m.destination_pool_id = ANY ($2))"
               " AND ($3::text IS NULL OR m.state = $3 OR ($3 = 'active' AND m.ended_at IS NULL))"
               " AND ($4::text IS NULL OR m.name = $4 OR m.vm_id::text = $4"
               "  OR m.destination_vm_id::text = $4)"
               " AND (" PAGE_IN_POOL("$5", "m.source_pool_id") "  OR " PAGE_IN_POOL(
                   "$5", "m.destination_pool_id") ")"
                                                  " AND (" PAGE_ON_HOST("$6", "m.source_host_id") "  OR " PAGE_ON_HOST(
                                                      "$6",
                                                      "m.destination_host_id") ")"
                                                                               " AND " PAGE_IS(
                                                                                   "$7",
                                                                                   "m.created_by");
static const char *const list_states[] = {"active",    "queued",      "preparing", "transferring",
                                          "ready",     "handing_off", "cleaning",  "aborting",
                                          "succeeded", "failed",      "cancelled", NULL};
static const struct page_filter migration_filters[] = {
    {"state", PAGE_WORD, list_states}, {"vm", PAGE_TEXT, NULL},         {"pool", PAGE_TEXT, NULL},
    {"host", PAGE_TEXT, NULL},         {"created_by", PAGE_TEXT, NULL}, {0},
};
static const struct page_sort migration_sorts[] = {
    {"created_at", "m.sequence", "bigint"},
    {"ended_at", "coalesce(m.ended_at, 'infinity')", "timestamptz"},
    {"priority", "m.priority", "integer"},
    {"name", "m.name", "text"},
    {"state", "m.state", "text"},
    {0},
};
static const char *const migration_fields[] = {"id",
                                               "state",
                                               "phase",
                                               "mode",
                                               "waits_for",
                                               "epoch",
                                               "vm",
                                               "destination_vm",
                                               "domain",
                                               "name",
                                               "source",
                                               "destination",
                                               "mapping",
                                               "disks",
                                               "memory",
                                               "pause_us",
                                               "longest_stall_ms",
                                               "is_cancel_requested",
                                               "priority",
                                               "position",
                                               "switchover",
                                               "retries",
                                               "retries_used",
                                               "stall_timeout_s",
                                               "bandwidth_bytes_per_s",
                                               "is_copy_paused",
                                               "network",
                                               "error",
                                               "created_by",
                                               "created_at",
                                               "started_at",
                                               "ended_at",
                                               "steps",
                                               NULL};
const struct page_list migration_list = {.name = "migrations",
                                         .sql = sql_list,
                                         .own = 2,
                                         .id = "m.id",
                                         .filters = migration_filters,
                                         .sorts = migration_sorts,
                                         .is_newest_first = true,
                                         .fields = migration_fields};

static const char sql_show[] = BODY("$2") " WHERE m.id = $1";

bool migration_store_show(struct db *db, const char *id, int host_lost_after_s, char **text,
                          struct error *err)
{
    struct db_text seconds = db_int(host_lost_after_s);
    if (page_one(db, sql_show, DB_PARAMS(id, seconds.text), text, err))
        return true;
    if (err->code != ERROR_NOT_FOUND)
        return false;
    return error_set(err, ERROR_NOT_FOUND,
                     "migration %s does not exist: GET /v1/migrations lists them", id);
}

/* A place in the queue changes with others. */
static const char sql_steady[] =
    "SELECT CASE WHEN EXISTS (SELECT FROM migration WHERE id = $1 AND state = 'queued') THEN -1"
    " ELSE (SELECT extract(epoch FROM min(h.last_seen) + make_interval(secs => $2::integer)"
    "   - now()) * 1000 FROM migration m"
    "  JOIN host h ON h.id IN (m.source_host_id, m.destination_host_id)"
    "  WHERE m.id = $1 AND m.ended_at IS NULL"
    "  AND h.last_seen >= now() - make_interval(secs => $2::integer))::bigint END AS ms";

bool migration_store_steady_ms(struct db *db, const char *id, int host_lost_after_s, int64_t *ms,
                               struct error *err)
{
    auto_db_rows struct db_rows *rows = NULL;
    struct db_text seconds = db_int(host_lost_after_s);
    if (!db_query(db, sql_steady, DB_PARAMS(id, seconds.text), &rows, err))
        return false;
    bool is_bounded = db_value(rows, 0, "ms") != NULL;
    int64_t left = db_value_int(rows, 0, "ms");
    *ms = is_bounded && left == 0 ? 1 : left;
    return true;
}
