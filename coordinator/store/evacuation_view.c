/* Evacuations as the API shows them, and what requests are made of; see evacuation_store.h. */
#include "coordinator/store/evacuation_store.h"

#include "coordinator/store/page_sql.h"

#include <stdio.h>

/* A host of a pool that the evacuation does not concern may be hidden from who sees it. */
#define END_OF(host)                                                                               \
    "CASE WHEN " host ".pool_id = ANY (e.pools) THEN json_build_object('pool', " host ".pool_id,"  \
    " 'pool_name', (SELECT p.name FROM pool p WHERE p.id = " host ".pool_id), 'host', " host       \
    ".id, 'host_name', " host ".name) END"

#define VMS                                                                                        \
    "(SELECT coalesce(json_agg(json_build_object('vm', x.vm_id, 'current_vm', x.current_vm_id,"    \
    " 'name', x.name, 'state', x.state, 'source', " END_OF("s") ", 'destination', " END_OF(        \
        "d") ", 'via', " END_OF("t") ", 'strategy', x.strategy, 'priority', x.priority,"           \
                                     " 'start', x.planned_start, 'end', x.planned_end, 'bytes', "  \
                                     "x.planned_bytes,"                                            \
                                     " 'pause_ms', x.planned_pause_ms, 'reasons', x.reasons, "     \
                                     "'migration', x.migration_id,"                                \
                                     " 'attempts', x.attempts, 'started_at', x.started_at, "       \
                                     "'ended_at', x.ended_at)"                                     \
                                     " ORDER BY x.planned_start, x.position), '[]') FROM "         \
                                     "evacuation_vm x"                                             \
                                     " LEFT JOIN host s ON s.id = x.source_host_id LEFT JOIN "     \
                                     "host d ON d.id = x.destination_host_id"                      \
                                     " LEFT JOIN host t ON t.id = x.via_host_id WHERE "            \
                                     "x.evacuation_id = e.id)"

/* What is on the emptied hosts still, whether the evacuation knows of it or not. */
#define REMAINING                                                                                  \
    "(SELECT coalesce(json_agg(json_build_object('vm', v.id, 'name', v.name, 'host', h.id,"        \
    " 'host_name', h.name) ORDER BY h.name, v.name, v.id), '[]')"                                  \
    " FROM jsonb_array_elements_text(e.request -> 'hosts') AS emptied(id)"                         \
    " JOIN host h ON h.id = emptied.id::uuid JOIN vm v ON v.host_id = h.id AND v.is_present)"

#define COUNTS                                                                                     \
    "(SELECT json_build_object('waiting', count(*) FILTER (WHERE x.state = 'waiting'),"            \
    " 'moving', count(*) FILTER (WHERE x.state = 'moving'),"                                       \
    " 'moved', count(*) FILTER (WHERE x.state = 'moved'),"                                         \
    " 'failed', count(*) FILTER (WHERE x.state = 'failed'),"                                       \
    " 'refused', count(*) FILTER (WHERE x.state = 'refused'),"                                     \
    " 'skipped', count(*) FILTER (WHERE x.state = 'skipped'),"                                     \
    " 'cancelled', count(*) FILTER (WHERE x.state = 'cancelled'))"                                 \
    " FROM evacuation_vm x WHERE x.evacuation_id = e.id)"

#define HEAD(is_dry_run)                                                                           \
    "'id', CASE WHEN " is_dry_run " THEN NULL ELSE e.id END, 'state', CASE WHEN " is_dry_run       \
    " THEN 'planned' ELSE e.state END, 'return_of', e.return_of,"                                  \
    " 'returns', (SELECT coalesce(json_agg(r.id ORDER BY r.sequence), '[]') FROM evacuation r"     \
    "  WHERE r.return_of = e.id), 'request', e.request, 'deadline', e.deadline,"                   \
    " 'plan', e.plan || jsonb_build_object('made_at', e.planned_at, 'number', e.plans),"           \
    " 'counts', " COUNTS ", 'created_by', e.created_by, 'created_at', e.created_at,"               \
    " 'ended_at', e.ended_at"

#define IN_SCOPE(scope) "(" scope "::uuid[] IS NULL OR e.pools <@ " scope ")"

static const char sql_list[] =
    "SELECT e.id, json_build_object(" HEAD("false") ") AS body FROM evacuation e WHERE " IN_SCOPE(
        "$1") " AND ($2::text IS NULL OR e.state = $2 OR ($2 = 'active' AND e.ended_at IS NULL))"
              " AND " PAGE_IS("$3", "e.created_by");
static const char *const list_states[] = {
    "active",       "running",    "paused",    "stopping",
    "rolling-back", "cancelling", "succeeded", "succeeded-with-exceptions",
    "failed",       "cancelled",  NULL};
static const struct page_filter evacuation_filters[] = {
    {"state", PAGE_WORD, list_states}, {"created_by", PAGE_TEXT, NULL}, {0}};
static const struct page_sort evacuation_sorts[] = {
    {"created_at", "e.sequence", "bigint"},
    {"ended_at", "coalesce(e.ended_at, 'infinity')", "timestamptz"},
    {"state", "e.state", "text"},
    {0},
};
static const char *const evacuation_fields[] = {"id",         "state",      "return_of", "returns",
                                                "request",    "deadline",   "plan",      "counts",
                                                "created_by", "created_at", "ended_at",  NULL};
const struct page_list evacuation_list = {.name = "evacuations",
                                          .sql = sql_list,
                                          .own = 1,
                                          .id = "e.id",
                                          .filters = evacuation_filters,
                                          .sorts = evacuation_sorts,
                                          .is_newest_first = true,
                                          .fields = evacuation_fields};

static const char sql_show[] = "SELECT json_build_object(" HEAD(
    "$3::boolean") ", 'vms', " VMS ", 'remaining', " REMAINING
                   ") AS body FROM evacuation e WHERE e.id = $1 AND " IN_SCOPE("$2");

bool evacuation_store_show(struct db *db, const char *scope, const char *id, bool is_dry_run,
                           char **text, struct error *err)
{
    const char *dry = db_bool(is_dry_run);
    if (page_one(db, sql_show, DB_PARAMS(id, scope, dry), text, err))
        return true;
    if (err->code != ERROR_NOT_FOUND)
        return false;
    return error_set(err, ERROR_NOT_FOUND,
                     "evacuation %s does not exist: GET /v1/evacuations lists them", id);
}

static const char sql_hosts_of[] = "SELECT id FROM host WHERE pool_id = $1 ORDER BY name";

bool evacuation_store_hosts_of(struct db *db, const char *pool, struct db_rows **rows,
                               struct error *err)
{
    return db_query(db, sql_hosts_of, DB_PARAMS(pool), rows, err);
}

static const char sql_pools[] =
    "SELECT id FROM pool WHERE $1::uuid[] IS NULL OR id = ANY ($1) ORDER BY name";

bool evacuation_store_pools(struct db *db, const char *scope, struct db_rows **rows,
                            struct error *err)
{
    return db_query(db, sql_pools, DB_PARAMS(scope), rows, err);
}

static const char sql_host_of_vm[] = "SELECT host_id FROM vm WHERE id = $1";

bool evacuation_store_host_of_vm(struct db *db, const char *vm, char host[UUID_SIZE],
                                 struct error *err)
{
    auto_db_rows struct db_rows *rows = NULL;
    if (!db_query(db, sql_host_of_vm, DB_PARAMS(vm), &rows, err))
        return false;
    snprintf(host, UUID_SIZE, "%s", db_count(rows) ? db_value(rows, 0, "host_id") : "");
    return true;
}

static const char sql_seconds_to[] =
    "SELECT floor(extract(epoch FROM $1::timestamptz - now()))::bigint AS seconds";

bool evacuation_store_seconds_to(struct db *db, const char *time, double *seconds,
                                 struct error *err)
{
    auto_db_rows struct db_rows *rows = NULL;
    if (!db_query(db, sql_seconds_to, DB_PARAMS(time), &rows, err))
        return false;
    *seconds = (double)db_value_int(rows, 0, "seconds");
    return true;
}
