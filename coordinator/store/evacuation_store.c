/* Rows of evacuations: made, locked, planned anew; see evacuation_store.h. */
#include "coordinator/store/evacuation_store.h"

#include "base/memory.h"
#include "coordinator/store/word.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void evacuation_row_done(struct evacuation_row *row)
{
    json_release(evacuation_request_fields, &row->request);
    free(row->created_by);
    free(row->pools);
    *row = (struct evacuation_row){0};
}

static bool read_row(const struct db_rows *rows, struct evacuation_row *row, struct error *err)
{
    struct evacuation_row out = {0};
    const char *request = db_value(rows, 0, "request");
    if (!json_decode_text(request, strlen(request), evacuation_request_fields, &out.request, err)) {
        err->code = ERROR_INTERNAL;
        return error_prefix(err, "stored request of evacuation %s", db_value(rows, 0, "id"));
    }
    snprintf(out.id, sizeof out.id, "%s", db_value(rows, 0, "id"));
    out.state =
        (enum evacuation_state)word_index(evacuation_state_names, db_value(rows, 0, "state"));
    out.has_deadline = db_value(rows, 0, "deadline_s") != NULL;
    out.deadline_s = (double)db_value_int(rows, 0, "deadline_s");
    out.is_plan_due = db_value_bool(rows, 0, "is_plan_due");
    out.planned_s = (double)db_value_int(rows, 0, "planned_s");
    out.is_return = db_value_bool(rows, 0, "is_return");
    out.created_by = memory_copy_text(db_value(rows, 0, "created_by"));
    out.pools = memory_copy_text(db_value(rows, 0, "pools"));
    *row = out;
    return true;
}

#define ROW                                                                                        \
    "SELECT id, state, request::text AS request, is_plan_due, created_by, pools::text AS pools,"   \
    " return_of IS NOT NULL AS is_return,"                                                         \
    " floor(extract(epoch FROM deadline - now()))::bigint AS deadline_s,"                          \
    " floor(extract(epoch FROM now() - planned_at))::bigint AS planned_s FROM evacuation"          \
    " WHERE id = $1"

static const char sql_lock[] = ROW " FOR NO KEY UPDATE";

bool evacuation_store_lock(struct db *db, const char *id, struct evacuation_row *row,
                           struct error *err)
{
    auto_db_rows struct db_rows *rows = NULL;
    if (!db_query(db, sql_lock, DB_PARAMS(id), &rows, err))
        return false;
    if (db_count(rows) == 0)
        return error_set(err, ERROR_NOT_FOUND,
                         "evacuation %s does not exist: GET /v1/evacuations lists them", id);
    return read_row(rows, row, err);
}

static const char sql_try_lock[] = ROW " AND ended_at IS NULL FOR NO KEY UPDATE SKIP LOCKED";

bool evacuation_store_try_lock(struct db *db, const char *id, struct evacuation_row *row,
                               bool *is_locked, struct error *err)
{
    auto_db_rows struct db_rows *rows = NULL;
    if (!db_query(db, sql_try_lock, DB_PARAMS(id), &rows, err))
        return false;
    if (db_count(rows) == 1 && !read_row(rows, row, err))
        return false;
    *is_locked = db_count(rows) == 1;
    return true;
}

static const char sql_active[] =
    "SELECT id FROM evacuation WHERE ended_at IS NULL ORDER BY sequence";

bool evacuation_store_active(struct db *db, struct db_rows **rows, struct error *err)
{
    return db_query(db, sql_active, 0, NULL, rows, err);
}

/* In the order of maintenance_store.c. */
static const char sql_lock_pools[] =
    "SELECT p.id FROM pool p WHERE p.id IN (SELECT h.pool_id FROM host h WHERE h.id IN"
    "  (SELECT word::uuid FROM jsonb_array_elements_text($1::jsonb -> 'hosts') AS word))"
    " ORDER BY p.id FOR NO KEY UPDATE";

static const char sql_lock_hosts[] =
    "SELECT h.id FROM host h WHERE h.id IN"
    " (SELECT word::uuid FROM jsonb_array_elements_text($1::jsonb -> 'hosts') AS word)"
    " ORDER BY h.id FOR NO KEY UPDATE";

/* $1 id, $2 request, $3 plan, $4 VMs, $5 who, $6 return of, $7 hosts stay open. */
static const char sql_insert[] =
    "WITH p AS (UPDATE pool SET in_maintenance = true WHERE NOT in_maintenance"
    "  AND NOT $7::boolean AND id IN (SELECT word::uuid"
    "   FROM jsonb_array_elements_text($2::jsonb -> 'pools') AS word) RETURNING id),"
    " h AS (UPDATE host SET in_maintenance = true WHERE NOT in_maintenance"
    "  AND NOT $7::boolean AND id IN (SELECT word::uuid"
    "   FROM jsonb_array_elements_text($2::jsonb -> 'hosts') AS word) RETURNING id)"
    " INSERT INTO evacuation (id, return_of, pools, request, deadline, plan, created_by,"
    "  maintained_pools, maintained_hosts)"
    " SELECT $1::uuid, $6::uuid, ARRAY(SELECT x.pool_id FROM host x WHERE x.id IN"
    "   (SELECT word::uuid FROM jsonb_array_elements_text($2::jsonb -> 'hosts') AS word"
    "    UNION SELECT word::uuid FROM jsonb_array_elements_text($2::jsonb -> 'destination_hosts')"
    "     AS word UNION SELECT (one ->> 'host')::uuid FROM jsonb_array_elements($4::jsonb) AS one"
    "    UNION SELECT (one ->> 'via')::uuid FROM jsonb_array_elements($4::jsonb) AS one"
    "    UNION SELECT v.host_id FROM jsonb_array_elements($4::jsonb) AS one"
    "     JOIN vm v ON v.id = (one ->> 'vm')::uuid AND one ->> 'state' <> 'skipped')"
    "  UNION SELECT word::uuid FROM jsonb_array_elements_text($2::jsonb -> 'destination_pools')"
    "   AS word), $2::jsonb, nullif($2::jsonb ->> 'deadline', '')::timestamptz, $3::jsonb, $5,"
    "  ARRAY(SELECT id FROM p), ARRAY(SELECT id FROM h)";

#define VM_RECORDS(parameter)                                                                      \
    "jsonb_to_recordset(" parameter "::jsonb) AS r(vm uuid, position integer, host uuid,"          \
    " via uuid, is_fixed boolean, priority integer, strategy text, state text,"                    \
    " start_s double precision, end_s double precision, bytes bigint, pause_ms bigint,"            \
    " reasons jsonb, mapping jsonb)"

static const char sql_insert_vms[] =
    "INSERT INTO evacuation_vm (evacuation_id, vm_id, position, current_vm_id, domain_uuid, name,"
    " source_pool_id, source_host_id, current_host_id, destination_host_id, via_host_id,"
    " is_destination_fixed, priority, strategy, state, planned_start, planned_end, planned_bytes,"
    " planned_pause_ms, reasons, mapping, ended_at, refused_at)"
    " SELECT $1::uuid, v.id, r.position, v.id, v.domain_uuid, v.name, v.pool_id, v.host_id,"
    " v.host_id, r.host, r.via, r.is_fixed, r.priority, r.strategy, r.state,"
    " now() + make_interval(secs => r.start_s), now() + make_interval(secs => r.end_s), r.bytes,"
    " r.pause_ms, r.reasons, CASE WHEN jsonb_typeof(r.mapping) = 'object' THEN r.mapping END,"
    " CASE WHEN r.state IN ('refused', 'skipped') THEN now() END,"
    " CASE WHEN r.state = 'waiting' AND r.start_s IS NULL THEN now() END"
    " FROM " VM_RECORDS("$2") " JOIN vm v ON v.id = r.vm";

bool evacuation_store_insert(struct db *db, const struct evacuation_new *made, struct error *err)
{
    const char *keeps_open = db_bool(made->keeps_open);
    if (!db_query(db, sql_lock_pools, DB_PARAMS(made->request), NULL, err) ||
        !db_query(db, sql_lock_hosts, DB_PARAMS(made->request), NULL, err) ||
        !db_query(db, sql_insert,
                  DB_PARAMS(made->id, made->request, made->plan, made->vms, made->created_by,
                            made->return_of, keeps_open),
                  NULL, err))
        return false;
    if (db_query(db, sql_insert_vms, DB_PARAMS(made->id, made->vms), NULL, err))
        return true;
    if (err->code != ERROR_CONFLICT)
        return false;
    return error_set(err, ERROR_CONFLICT,
                     "another evacuation has taken one of the VMs a moment ago: GET "
                     "/v1/evacuations lists them");
}

static const char sql_check_free[] =
    "SELECT e.evacuation_id, e.name FROM jsonb_to_recordset($1::jsonb) AS r(vm uuid, state text)"
    " JOIN vm v ON v.id = r.vm JOIN evacuation_vm e ON e.domain_uuid = v.domain_uuid"
    " WHERE r.state = 'waiting' AND e.state IN ('waiting', 'moving') ORDER BY e.name LIMIT 1";

bool evacuation_store_check_free(struct db *db, const char *vms, struct error *err)
{
    auto_db_rows struct db_rows *rows = NULL;
    if (!db_query(db, sql_check_free, DB_PARAMS(vms), &rows, err))
        return false;
    return db_count(rows) == 0 ||
           error_set(err, ERROR_CONFLICT,
                     "VM %.80s is part of evacuation %s, which is not over: wait for its end, "
                     "cancel it, or leave the VM out (\"exclude\")",
                     db_value(rows, 0, "name"), db_value(rows, 0, "evacuation_id"));
}

static const char sql_set_state[] =
    "UPDATE evacuation SET state = $2, ended_at = CASE WHEN $2 IN ('succeeded',"
    " 'succeeded-with-exceptions', 'failed', 'cancelled') THEN now() END"
    " WHERE id = $1 AND state <> $2";

bool evacuation_store_set_state(struct db *db, const char *id, enum evacuation_state state,
                                struct error *err)
{
    return db_query(db, sql_set_state, DB_PARAMS(id, evacuation_state_names[state]), NULL, err);
}

static const char sql_want_plan[] =
    "UPDATE evacuation SET is_plan_due = true WHERE id = $1 AND NOT is_plan_due";

bool evacuation_store_want_plan(struct db *db, const char *id, struct error *err)
{
    return db_query(db, sql_want_plan, DB_PARAMS(id), NULL, err);
}

static const char sql_replan[] =
    "UPDATE evacuation SET plan = $2::jsonb, plans = plans + 1, planned_at = now(),"
    " is_plan_due = false WHERE id = $1";

/* A VM whose turn is now keeps the time since when it could not start, so that plans which look
 * good and fail at admission come to an end too; one whose turn comes later waits for nothing else.
 */
static const char sql_replan_vms[] =
    "UPDATE evacuation_vm e SET planned_end = CASE WHEN e.state = 'moving'"
    "  THEN coalesce(now() + make_interval(secs => r.end_s), e.planned_end)"
    "  ELSE now() + make_interval(secs => r.end_s) END,"
    " planned_start = CASE WHEN e.state = 'moving' THEN e.planned_start"
    "  ELSE now() + make_interval(secs => r.start_s) END,"
    " destination_host_id = CASE WHEN e.state = 'moving' THEN e.destination_host_id"
    "  ELSE coalesce(r.host, e.destination_host_id) END,"
    " via_host_id = CASE WHEN e.state = 'moving' THEN e.via_host_id ELSE r.via END,"
    " planned_bytes = CASE WHEN e.state = 'moving' THEN e.planned_bytes ELSE r.bytes END,"
    " planned_pause_ms = CASE WHEN e.state = 'moving' THEN e.planned_pause_ms ELSE r.pause_ms END,"
    " reasons = CASE WHEN e.state = 'waiting' AND r.start_s IS NULL THEN r.reasons"
    "  ELSE e.reasons END,"
    " refused_at = CASE WHEN e.state = 'waiting' AND r.start_s IS NULL"
    "  THEN coalesce(e.refused_at, now())"
    "  WHEN e.state = 'waiting' AND r.start_s > 1 THEN NULL ELSE e.refused_at END"
    " FROM " VM_RECORDS("$2") " WHERE e.evacuation_id = $1 AND e.vm_id = r.vm"
                              " AND e.state IN ('waiting', 'moving')";

bool evacuation_store_replan(struct db *db, const char *id, const char *plan, const char *vms,
                             struct error *err)
{
    return db_query(db, sql_replan, DB_PARAMS(id, plan), NULL, err) &&
           db_query(db, sql_replan_vms, DB_PARAMS(id, vms), NULL, err);
}

static const char sql_end_pools[] =
    "UPDATE pool SET in_maintenance = false FROM evacuation e"
    " WHERE e.id = $1 AND pool.id = ANY (e.maintained_pools) AND pool.in_maintenance";

static const char sql_end_hosts[] =
    "UPDATE host SET in_maintenance = false FROM evacuation e"
    " WHERE e.id = $1 AND host.id = ANY (e.maintained_hosts) AND host.in_maintenance";

bool evacuation_store_end_maintenance(struct db *db, const char *id, struct error *err)
{
    return db_query(db, sql_end_pools, DB_PARAMS(id), NULL, err) &&
           db_query(db, sql_end_hosts, DB_PARAMS(id), NULL, err);
}
