/* VMs of evacuations while these are carried out; see evacuation_store.h. */
#include "coordinator/store/evacuation_store.h"

#include <stdio.h>
#include <string.h>

/* One reason, as a JSON array. */
#define REASON(code, message, fix)                                                                 \
    "jsonb_build_array(jsonb_build_object('code', " code ", 'message', " message ", 'fix', " fix   \
    "))"
#define MIGRATION_FAILED                                                                           \
    REASON("coalesce(m.error_code, 'cancelled')",                                                  \
           "coalesce(m.error_text, 'its migration was cancelled')",                                \
           "'look at migration ' || m.id || '; POST .../vms/' || e.vm_id || '/retry tries again'")
#define MOVED_ELSEWHERE                                                                            \
    REASON("'moved-elsewhere'", "'it was moved to host ' || h.name || ' by others'",               \
           "'nothing: it is not on its host any more'")
#define VM_GONE REASON("'vm-not-found'", "'no host reports it any more'", "'look at GET /v1/vms'")
#define NOT_RETURNED                                                                               \
    REASON("'not-returned'", "$2::text", "'POST .../return brings it back once that is mended'")
/* Where the evacuation put it is not where it came from. */
#define IS_AWAY(e) "(" e ".state = 'moved' OR " e ".current_host_id <> " e ".source_host_id)"
#define NOT_STARTED                                                                                \
    REASON("'not-started'", "$2::text", "'POST .../vms/' || vm_id || '/retry starts it'")

/* Undoes a migration: each disk and VIF back to where it was. */
#define RETURN_MAPPING                                                                             \
    "jsonb_build_object('disks', (SELECT coalesce(jsonb_object_agg(d ->> 'device',"                \
    "  jsonb_build_object('sr', d #>> '{source,sr}', 'format', d #>> '{source,format}')), '{}')"   \
    "  FROM jsonb_array_elements(m.spec -> 'disks') AS d),"                                        \
    " 'vifs', (SELECT coalesce(jsonb_object_agg(f ->> 'mac', f ->> 'source_network'), '{}')"       \
    "  FROM jsonb_array_elements(m.spec -> 'vifs') AS f))"

/* The guest that ended is not worth another attempt, nor is what a person has cancelled. */
#define MAY_RETRY                                                                                  \
    "m.state = 'failed' AND e.attempts <= $2::integer"                                             \
    " AND m.error_code IS DISTINCT FROM 'guest-ended'"
#define MADE_WAY                                                                                   \
    "m.state = 'succeeded' AND m.destination_host_id = e.via_host_id"                              \
    " AND e.via_host_id IS DISTINCT FROM e.destination_host_id"

static const char sql_settle[] =
    "UPDATE evacuation_vm e SET state = CASE WHEN " MADE_WAY " OR (" MAY_RETRY ") THEN 'waiting'"
    "  WHEN m.state = 'succeeded' THEN 'moved' WHEN m.state = 'cancelled' THEN 'cancelled'"
    "  ELSE 'failed' END,"
    " current_vm_id = CASE WHEN m.state = 'succeeded' THEN m.destination_vm_id"
    "  ELSE e.current_vm_id END,"
    " current_host_id = CASE WHEN m.state = 'succeeded' THEN m.destination_host_id"
    "  ELSE e.current_host_id END,"
    " via_host_id = CASE WHEN m.state = 'succeeded' THEN NULL ELSE e.via_host_id END,"
    " attempts = CASE WHEN " MADE_WAY " THEN 0 ELSE e.attempts END,"
    " return_mapping = CASE WHEN m.state = 'succeeded'"
    "  THEN coalesce(e.return_mapping, " RETURN_MAPPING ") ELSE e.return_mapping END,"
    " reasons = CASE WHEN m.state = 'succeeded' THEN '[]' ELSE " MIGRATION_FAILED " END,"
    " planned_start = CASE WHEN " MADE_WAY " OR (" MAY_RETRY ") THEN NULL ELSE e.planned_start END,"
    " not_before = now() + make_interval(secs => CASE WHEN m.state = 'failed' THEN 2 * e.attempts"
    "  ELSE 0 END),"
    " refused_at = NULL, ended_at = CASE WHEN " MADE_WAY " OR (" MAY_RETRY ") THEN NULL"
    "  ELSE m.ended_at END"
    " FROM migration m WHERE e.evacuation_id = $1 AND e.state = 'moving' AND m.id = e.migration_id"
    " AND m.ended_at IS NOT NULL RETURNING e.state = 'failed' AS has_failed";

static bool any_failed(const struct db_rows *rows)
{
    for (int i = 0; i < db_count(rows); i++) {
        if (db_value_bool(rows, i, "has_failed"))
            return true;
    }
    return false;
}

bool evacuation_store_settle(struct db *db, const char *id, int retries, bool *changed,
                             bool *failed, struct error *err)
{
    auto_db_rows struct db_rows *rows = NULL;
    struct db_text most = db_int(retries);
    if (!db_query(db, sql_settle, DB_PARAMS(id, most.text), &rows, err))
        return false;
    *changed = db_count(rows) > 0;
    *failed = any_failed(rows);
    return true;
}

/* A guest that was started anew is another object with the same domain. */
static const char sql_new_objects[] =
    "UPDATE evacuation_vm e SET current_vm_id = v.id, refused_at = NULL FROM vm v"
    " WHERE e.evacuation_id = $1 AND e.state = 'waiting' AND v.domain_uuid = e.domain_uuid"
    " AND v.host_id = e.current_host_id AND v.is_present AND v.id <> e.current_vm_id";

/* It may come back, as one that is started anew does. */
static const char sql_gone[] =
    "UPDATE evacuation_vm e SET reasons = " VM_GONE ", planned_start = NULL, planned_end = NULL,"
    " refused_at = coalesce(e.refused_at, now()) WHERE e.evacuation_id = $1"
    " AND e.state = 'waiting' AND (e.refused_at IS NULL OR e.planned_start IS NOT NULL)"
    " AND NOT EXISTS (SELECT FROM vm v WHERE v.domain_uuid = e.domain_uuid)";

static const char sql_taken_elsewhere[] =
    "UPDATE evacuation_vm e SET state = 'skipped', ended_at = now(), reasons = " MOVED_ELSEWHERE
    " FROM vm v JOIN host h ON h.id = v.host_id WHERE e.evacuation_id = $1 AND e.state = 'waiting'"
    " AND v.domain_uuid = e.domain_uuid AND v.is_present AND v.host_id <> e.current_host_id"
    " AND NOT EXISTS (SELECT FROM vm s WHERE s.domain_uuid = e.domain_uuid"
    "  AND s.host_id = e.current_host_id)"
    " AND NOT EXISTS (SELECT FROM migration m WHERE m.domain_uuid = e.domain_uuid"
    "  AND m.ended_at IS NULL)";

bool evacuation_store_follow(struct db *db, const char *id, bool *changed, struct error *err)
{
    auto_db_rows struct db_rows *rows = NULL;
    if (!db_query(db, sql_new_objects, DB_PARAMS(id), &rows, err) ||
        !db_query(db, sql_gone, DB_PARAMS(id), NULL, err) ||
        !db_query(db, sql_taken_elsewhere, DB_PARAMS(id), NULL, err))
        return false;
    *changed = db_affected(rows) > 0;
    return true;
}

static const char sql_give_up[] =
    "UPDATE evacuation_vm e SET state = 'failed', ended_at = now()"
    " WHERE e.evacuation_id = $1 AND e.state = 'waiting'"
    " AND e.refused_at < now() - make_interval(secs => $2::integer) RETURNING true AS has_failed";

bool evacuation_store_give_up(struct db *db, const char *id, int patience_s, bool *failed,
                              struct error *err)
{
    auto_db_rows struct db_rows *rows = NULL;
    struct db_text patience = db_int(patience_s);
    if (!db_query(db, sql_give_up, DB_PARAMS(id, patience.text), &rows, err))
        return false;
    *failed = any_failed(rows);
    return true;
}

static const char sql_be_patient[] =
    "UPDATE evacuation_vm SET refused_at = now() WHERE evacuation_id = $1 AND state = 'waiting'"
    " AND refused_at IS NOT NULL";

bool evacuation_store_be_patient(struct db *db, const char *id, struct error *err)
{
    return db_query(db, sql_be_patient, DB_PARAMS(id), NULL, err);
}

static const char sql_drop_waiting[] =
    "UPDATE evacuation_vm SET state = 'cancelled', ended_at = now(), reasons = " NOT_STARTED
    " WHERE evacuation_id = $1 AND state = 'waiting'";

bool evacuation_store_drop_waiting(struct db *db, const char *id, const char *why,
                                   struct error *err)
{
    return db_query(db, sql_drop_waiting, DB_PARAMS(id, why), NULL, err);
}

static const char sql_count[] =
    "SELECT count(*) FILTER (WHERE state = 'waiting') AS waiting,"
    " count(*) FILTER (WHERE state = 'moving') AS moving,"
    " count(*) FILTER (WHERE state = 'moved') AS moved,"
    " count(*) FILTER (WHERE state IN ('failed', 'refused', 'cancelled')) AS exceptions,"
    " count(*) FILTER (WHERE state = 'waiting' AND planned_start IS NULL) AS unplanned,"
    " count(*) FILTER (WHERE " IS_AWAY("e") ") AS away"
                                            " FROM evacuation_vm e WHERE evacuation_id = $1";

bool evacuation_store_count(struct db *db, const char *id, struct evacuation_counts *counts,
                            struct error *err)
{
    auto_db_rows struct db_rows *rows = NULL;
    if (!db_query(db, sql_count, DB_PARAMS(id), &rows, err))
        return false;
    *counts = (struct evacuation_counts){
        .waiting = (int)db_value_int(rows, 0, "waiting"),
        .moving = (int)db_value_int(rows, 0, "moving"),
        .moved = (int)db_value_int(rows, 0, "moved"),
        .exceptions = (int)db_value_int(rows, 0, "exceptions"),
        .unplanned = (int)db_value_int(rows, 0, "unplanned"),
        .away = (int)db_value_int(rows, 0, "away"),
    };
    return true;
}

/* The plan's order and not its clock: a VM starts when those have ended that the plan ends before
 * it on either of its hosts, however long they took. One that is held, or moves from a host that is
 * silent, keeps nobody. */
static const char sql_due[] =
    "SELECT w.vm_id, w.current_vm_id, coalesce(w.via_host_id, w.destination_host_id) AS host_id,"
    " h.pool_id, w.strategy, w.priority, w.mapping::text AS mapping FROM evacuation_vm w"
    " JOIN host h ON h.id = coalesce(w.via_host_id, w.destination_host_id)"
    " WHERE w.evacuation_id = $1 AND ($2::uuid IS NULL OR w.vm_id = $2)"
    " AND w.state = 'waiting' AND w.planned_start IS NOT NULL"
    " AND w.not_before <= now() AND NOT EXISTS (SELECT FROM evacuation_vm o"
    "  WHERE o.evacuation_id = $1 AND o.vm_id <> w.vm_id AND o.state IN ('waiting', 'moving')"
    "  AND (o.state = 'moving' OR o.refused_at IS NULL)"
    "  AND NOT (o.state = 'moving' AND EXISTS (SELECT FROM host s WHERE s.id = o.current_host_id"
    "   AND s.last_seen < now() - make_interval(secs => $3::integer)))"
    "  AND o.planned_end <= w.planned_start + interval '1 ms'"
    "  AND ARRAY[o.current_host_id, coalesce(o.via_host_id, o.destination_host_id)]"
    "   && ARRAY[w.current_host_id, coalesce(w.via_host_id, w.destination_host_id)])"
    " ORDER BY w.planned_start, w.position";

bool evacuation_store_due(struct db *db, const char *id, const char *vm, int host_lost_after_s,
                          struct db_rows **rows, struct error *err)
{
    struct db_text silent = db_int(host_lost_after_s);
    return db_query(db, sql_due, DB_PARAMS(id, vm, silent.text), rows, err);
}

static const char sql_begin_move[] =
    "UPDATE evacuation_vm SET state = 'moving', migration_id = $3::uuid, attempts = attempts + 1,"
    " reasons = '[]', refused_at = NULL, started_at = coalesce(started_at, now()), strategy = $4"
    " WHERE evacuation_id = $1 AND vm_id = $2 AND state = 'waiting'";

bool evacuation_store_begin_move(struct db *db, const char *id, const char *vm,
                                 const char *migration, const char *strategy, struct error *err)
{
    auto_db_rows struct db_rows *rows = NULL;
    if (!db_query(db, sql_begin_move, DB_PARAMS(id, vm, migration, strategy), &rows, err))
        return false;
    return db_affected(rows) == 1 ||
           error_set(err, ERROR_CONFLICT, "VM %s of evacuation %s does not wait any more", vm, id);
}

static const char sql_hold[] =
    "UPDATE evacuation_vm SET reasons = $3::jsonb, not_before = now() + interval '2 s',"
    " refused_at = coalesce(refused_at, now())"
    " WHERE evacuation_id = $1 AND vm_id = $2 AND state = 'waiting'";

/* A VM that is held for the first time may do better elsewhere; after that a new plan every quarter
 * of a minute is enough. */
static const char sql_plan_held[] =
    "UPDATE evacuation SET is_plan_due = true WHERE id = $1 AND NOT is_plan_due"
    " AND (planned_at < now() - interval '15 s' OR EXISTS (SELECT FROM evacuation_vm e"
    "  WHERE e.evacuation_id = $1 AND e.vm_id = $2 AND e.refused_at IS NULL))";

bool evacuation_store_hold(struct db *db, const char *id, const char *vm, const char *reasons,
                           struct error *err)
{
    return db_query(db, sql_plan_held, DB_PARAMS(id, vm), NULL, err) &&
           db_query(db, sql_hold, DB_PARAMS(id, vm, reasons), NULL, err);
}

static const char sql_to_cancel[] =
    "SELECT m.id FROM evacuation_vm e JOIN migration m ON m.id = e.migration_id"
    " WHERE e.evacuation_id = $1 AND e.state = 'moving' AND m.ended_at IS NULL"
    " AND NOT m.is_cancel_requested ORDER BY m.sequence";

bool evacuation_store_to_cancel(struct db *db, const char *id, struct db_rows **rows,
                                struct error *err)
{
    return db_query(db, sql_to_cancel, DB_PARAMS(id), rows, err);
}

/* One that was let go counts until its handoff is over, even while its mirror is made anew. A
 * handoff that waits for a host which is silent keeps nobody. */
#define IS_SILENT(host) host ".last_seen < now() - make_interval(secs => $2::integer)"
static const char sql_switchovers[] =
    "SELECT m.id, m.source_host_id, m.destination_host_id, e.vm_id IS NOT NULL AS is_own,"
    " NOT m.is_switchover_held AS is_going FROM migration m"
    " JOIN host s ON s.id = m.source_host_id JOIN host d ON d.id = m.destination_host_id"
    " LEFT JOIN evacuation_vm e ON e.migration_id = m.id AND e.evacuation_id = $1"
    "  AND e.state = 'moving'"
    " WHERE m.ended_at IS NULL AND CASE WHEN m.is_switchover_held"
    "  THEN e.vm_id IS NOT NULL AND m.state = 'ready' AND NOT m.is_cancel_requested"
    "  ELSE (m.state = 'handing_off' OR m.is_switchover_requested AND (m.state = 'ready'"
    "   OR e.vm_id IS NOT NULL AND m.state IN ('preparing', 'transferring')))"
    "   AND NOT " IS_SILENT("s") " AND NOT " IS_SILENT("d") " END"
                                                            " ORDER BY m.priority DESC, m.sequence";

bool evacuation_store_switchovers(struct db *db, const char *id, int host_lost_after_s,
                                  struct db_rows **rows, struct error *err)
{
    struct db_text silent = db_int(host_lost_after_s);
    return db_query(db, sql_switchovers, DB_PARAMS(id, silent.text), rows, err);
}

static const char sql_vms[] =
    "SELECT e.vm_id, e.current_vm_id, e.destination_host_id AS host_id,"
    " e.state IN ('waiting', 'moving') AS is_open,"
    " e.is_destination_fixed AS is_fixed, e.state = 'moving' AS is_moving,"
    " NOT e.is_destination_fixed AND (e.refused_at IS NOT NULL OR e.attempts > 0) AS is_free,"
    " e.priority, e.mapping::text AS mapping, m.destination_host_id AS at_host_id,"
    " (SELECT jsonb_agg(coalesce(c.copied_bytes, 0) ORDER BY d.position)::text"
    "  FROM jsonb_array_elements(m.spec -> 'disks') WITH ORDINALITY AS d(disk, position)"
    "  LEFT JOIN LATERAL jsonb_to_recordset(p.progress -> 'disks') AS c(index bigint,"
    "   copied_bytes bigint) ON c.index = d.position - 1) AS copied,"
    " (SELECT coalesce(sum(c.rate_bytes_per_s), 0) FROM jsonb_to_recordset(p.progress -> 'disks')"
    "  AS c(rate_bytes_per_s bigint)) AS rate"
    " FROM evacuation_vm e LEFT JOIN migration m ON m.id = e.migration_id AND e.state = 'moving'"
    " LEFT JOIN migration_progress p ON p.migration_id = m.id"
    " WHERE e.evacuation_id = $1 ORDER BY e.position";

bool evacuation_store_vms(struct db *db, const char *id, struct db_rows **rows, struct error *err)
{
    return db_query(db, sql_vms, DB_PARAMS(id), rows, err);
}

static const char sql_rollback[] =
    "SELECT e.rollback_id, coalesce(r.ended_at IS NOT NULL, false) AS is_over,"
    " coalesce(e.rollback_tried_at < now() - interval '5 s', true) AS is_due,"
    " coalesce((SELECT max(x.ended_at) FROM evacuation_vm x WHERE x.evacuation_id = e.id)"
    "  < now() - make_interval(secs => $2::integer), true) AS is_late"
    " FROM evacuation e LEFT JOIN evacuation r ON r.id = e.rollback_id WHERE e.id = $1";

bool evacuation_store_rollback(struct db *db, const char *id, int patience_s,
                               struct evacuation_rollback *rollback, struct error *err)
{
    auto_db_rows struct db_rows *rows = NULL;
    struct db_text patience = db_int(patience_s);
    if (!db_query(db, sql_rollback, DB_PARAMS(id, patience.text), &rows, err))
        return false;
    const char *made = db_value(rows, 0, "rollback_id");
    snprintf(rollback->id, UUID_SIZE, "%s", made ? made : "");
    rollback->is_over = db_value_bool(rows, 0, "is_over");
    rollback->is_due = db_value_bool(rows, 0, "is_due");
    rollback->is_late = db_value_bool(rows, 0, "is_late");
    return true;
}

static const char sql_set_rollback[] = "UPDATE evacuation SET rollback_id = $2::uuid WHERE id = $1";

bool evacuation_store_set_rollback(struct db *db, const char *id, const char *return_id,
                                   struct error *err)
{
    return db_query(db, sql_set_rollback, DB_PARAMS(id, return_id), NULL, err);
}

static const char sql_rollback_tried[] =
    "UPDATE evacuation SET rollback_tried_at = now() WHERE id = $1";

static const char sql_say_why[] = "UPDATE evacuation_vm e SET reasons = " NOT_RETURNED
                                  " WHERE e.evacuation_id = $1 AND " IS_AWAY("e");

static const char sql_say_each[] =
    "UPDATE evacuation_vm e SET reasons = r.reasons"
    " FROM jsonb_to_recordset($2::jsonb) AS r(vm uuid, reasons jsonb)"
    " WHERE e.evacuation_id = $1 AND e.current_vm_id = r.vm AND " IS_AWAY("e");

bool evacuation_store_rollback_failed(struct db *db, const char *id, const char *why,
                                      const char *vms, struct error *err)
{
    return db_query(db, sql_rollback_tried, DB_PARAMS(id), NULL, err) &&
           (!why || db_query(db, sql_say_why, DB_PARAMS(id, why), NULL, err)) &&
           (!vms || db_query(db, sql_say_each, DB_PARAMS(id, vms), NULL, err));
}

static const char sql_returnable[] =
    "SELECT e.vm_id, coalesce(v.id, e.current_vm_id) AS current_vm_id, e.name, e.source_host_id,"
    " e.return_mapping::text AS mapping, v.id IS NOT NULL AS is_there,"
    " CASE WHEN e.state <> 'moved' AND e.current_host_id = e.source_host_id"
    "  THEN 'it was not moved'"
    "  WHEN v.id IS NOT NULL AND v.host_id = e.source_host_id THEN 'it is back already'"
    "  WHEN v.id IS NULL THEN 'no host reports it any more'"
    "  WHEN v.host_id <> e.current_host_id THEN 'it was moved elsewhere since'"
    "   || CASE WHEN $2::uuid[] IS NULL OR h.pool_id = ANY ($2) THEN ', to host ' || h.name"
    "    ELSE '' END"
    "  END AS why_not"
    " FROM evacuation_vm e LEFT JOIN LATERAL (SELECT x.id, x.host_id FROM vm x"
    "  WHERE x.domain_uuid = e.domain_uuid AND x.is_present"
    "  ORDER BY x.host_id = e.current_host_id DESC, x.id LIMIT 1) AS v ON true"
    " LEFT JOIN host h ON h.id = v.host_id WHERE e.evacuation_id = $1 ORDER BY e.position";

bool evacuation_store_returnable(struct db *db, const char *scope, const char *id,
                                 struct db_rows **rows, struct error *err)
{
    return db_query(db, sql_returnable, DB_PARAMS(id, scope), rows, err);
}

static const char sql_retry[] =
    "UPDATE evacuation_vm e SET state = 'waiting', attempts = 0, reasons = '[]',"
    " refused_at = NULL, not_before = now(), planned_start = NULL, planned_end = NULL,"
    " ended_at = NULL, migration_id = NULL"
    " WHERE e.evacuation_id = $1 AND (e.vm_id = $2::uuid OR e.name = $3)"
    " AND e.state IN ('failed', 'refused', 'cancelled', 'skipped')";

static const char sql_find_vm[] =
    "SELECT count(*) AS count, min(e.state) AS state FROM evacuation_vm e"
    " WHERE e.evacuation_id = $1 AND (e.vm_id = $2::uuid OR e.name = $3)";

static const char sql_run_again[] =
    "UPDATE evacuation SET state = CASE WHEN state = 'paused' THEN state ELSE 'running' END,"
    " ended_at = NULL, is_plan_due = true, rollback_id = NULL, rollback_tried_at = NULL"
    " WHERE id = $1";

bool evacuation_store_retry(struct db *db, const char *id, const char *vm, struct error *err)
{
    auto_db_rows struct db_rows *found = NULL;
    auto_db_rows struct db_rows *rows = NULL;
    const char *as_id = uuid_is_valid(vm) ? vm : NULL;
    if (!db_query(db, sql_find_vm, DB_PARAMS(id, as_id, vm), &found, err))
        return false;
    if (db_value_int(found, 0, "count") != 1)
        return error_set(err, db_value_int(found, 0, "count") ? ERROR_CONFLICT : ERROR_NOT_FOUND,
                         "evacuation %s has %s VM \"%.80s\": GET /v1/evacuations/%s lists them", id,
                         db_value_int(found, 0, "count") ? "more than one" : "no", vm, id);
    if (!db_query(db, sql_retry, DB_PARAMS(id, as_id, vm), &rows, err)) {
        return err->code == ERROR_CONFLICT
                   ? error_set(err, ERROR_CONFLICT, "VM %.80s is part of another evacuation by now",
                               vm)
                   : false;
    }
    if (db_affected(rows) != 1)
        return error_set(err, ERROR_CONFLICT,
                         "VM %.80s is %s: only one that failed, was refused, skipped or cancelled "
                         "can be tried again",
                         vm, db_value(found, 0, "state"));
    return db_query(db, sql_run_again, DB_PARAMS(id), NULL, err);
}
