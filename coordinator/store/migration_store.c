/* Rows of the table migration; see migration_store.h. */
#include "coordinator/store/migration_store.h"

#include "base/cleanup.h"
#include "base/memory.h"
#include "coordinator/store/migration_control.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void migration_row_done(struct migration_row *row)
{
    free(row->mapping);
    free(row->spec);
    row->mapping = NULL;
    row->spec = NULL;
}

static void copy_id(char out[UUID_SIZE], const struct db_rows *rows, int i, const char *column)
{
    const char *value = db_value(rows, i, column);
    memcpy(out, value ? value : "", value ? UUID_SIZE : 1);
}

static bool read_row(const struct db_rows *rows, int i, struct migration_row *row,
                     struct error *err)
{
    struct migration_row out = {0};
    if (!migration_state_parse(db_value(rows, i, "state"), &out.state))
        return error_set(err, ERROR_INTERNAL, "migration in unknown state \"%.40s\"",
                         db_value(rows, i, "state"));
    copy_id(out.id, rows, i, "id");
    copy_id(out.vm, rows, i, "vm_id");
    copy_id(out.destination_vm, rows, i, "destination_vm_id");
    copy_id(out.source_host, rows, i, "source_host_id");
    copy_id(out.destination_host, rows, i, "destination_host_id");
    copy_id(out.destination_pool, rows, i, "destination_pool_id");
    copy_id(out.requested_host, rows, i, "requested_host_id");
    out.epoch = db_value_int(rows, i, "epoch");
    out.is_cancel_requested = db_value_bool(rows, i, "is_cancel_requested");
    out.may_switch = !db_value_bool(rows, i, "is_held");
    out.retries_left = (int)db_value_int(rows, i, "retries_left");
    out.bandwidth_bytes_per_s = (uint64_t)db_value_int(rows, i, "bandwidth_bytes_per_s");
    snprintf(out.error_code, sizeof out.error_code, "%s", db_value(rows, i, "error_code"));
    snprintf(out.network, sizeof out.network, "%s", db_value(rows, i, "network"));
    const char *traceparent = db_value(rows, i, "traceparent");
    snprintf(out.traceparent, sizeof out.traceparent, "%s", traceparent ? traceparent : "");
    *row = out;
    return true;
}

static bool read_whole_row(const struct db_rows *rows, struct migration_row *row, struct error *err)
{
    if (!read_row(rows, 0, row, err))
        return false;
    row->mapping = memory_copy_text(db_value(rows, 0, "mapping"));
    row->spec = memory_copy_text(db_value(rows, 0, "spec"));
    return true;
}

/* Said by the policy and by what was asked for, at this moment. */
#define SWITCHOVER_HELD                                                                            \
    "(NOT is_switchover_requested AND CASE switchover WHEN 'manual' THEN true"                     \
    " WHEN 'window' THEN coalesce(switchover_from > now(), false)"                                 \
    "  OR coalesce(switchover_until <= now(), false) ELSE false END)"

#define FIELDS                                                                                     \
    "SELECT id, vm_id, destination_vm_id, source_host_id, destination_host_id,"                    \
    " destination_pool_id, requested_host_id, state, epoch, is_cancel_requested,"                  \
    " " SWITCHOVER_HELD " AS is_held, retries - retries_used AS retries_left,"                     \
    " coalesce(error_code, '') AS error_code, bandwidth_bytes_per_s, network,"                     \
    " spec ->> 'traceparent' AS traceparent"
#define ROW FIELDS ", mapping::text AS mapping, spec::text AS spec FROM migration WHERE id = $1"

static const char sql_lock[] = ROW " FOR NO KEY UPDATE";

bool migration_store_lock(struct db *db, const char *id, struct migration_row *row,
                          struct error *err)
{
    auto_db_rows struct db_rows *rows = NULL;
    if (!db_query(db, sql_lock, DB_PARAMS(id), &rows, err))
        return false;
    if (db_count(rows) == 0)
        return error_set(err, ERROR_NOT_FOUND,
                         "migration %s does not exist: GET /v1/migrations lists them", id);
    return read_whole_row(rows, row, err);
}

#define LOCK_OF_STEPS                                                                              \
    FIELDS                                                                                         \
    " FROM migration WHERE id IN (SELECT s.migration_id"                                           \
    "  FROM unnest((SELECT $1::uuid[]), (SELECT $2::uuid[])) AS r(step, host)"                     \
    "  JOIN step s ON s.id = r.step AND s.host_id = r.host) ORDER BY id FOR NO KEY UPDATE"
static const char sql_lock_of_steps[] = LOCK_OF_STEPS;
static const char sql_lock_free_of_steps[] = LOCK_OF_STEPS " SKIP LOCKED";

struct db_statement migration_store_lock_statement(const char *const params[2], bool waits,
                                                   struct db_rows **rows)
{
    return (struct db_statement){waits ? sql_lock_of_steps : sql_lock_free_of_steps, 2, params,
                                 rows};
}

bool migration_store_read(const struct db_rows *rows, const char *id, struct migration_row *row,
                          bool *is_there, struct error *err)
{
    int i = 0;
    while (i < db_count(rows) && strcmp(db_value(rows, i, "id"), id) != 0)
        i++;
    *is_there = i < db_count(rows);
    return !*is_there || read_row(rows, i, row, err);
}

static const char sql_try_lock[] = ROW " FOR NO KEY UPDATE SKIP LOCKED";

bool migration_store_try_lock(struct db *db, const char *id, struct migration_row *row,
                              bool *is_locked, struct error *err)
{
    auto_db_rows struct db_rows *rows = NULL;
    if (!db_query(db, sql_try_lock, DB_PARAMS(id), &rows, err))
        return false;
    if (db_count(rows) == 1 && !read_whole_row(rows, row, err))
        return false;
    *is_locked = db_count(rows) == 1;
    return true;
}

/* The number is this lock's name in the database, and any would do. */
static const char sql_admission_lock[] = "SELECT pg_advisory_xact_lock(731905318420761)";

bool migration_store_admission_lock(struct db *db, struct error *err)
{
    return db_query(db, sql_admission_lock, 0, NULL, NULL, err);
}

static const char sql_insert[] =
    "INSERT INTO migration (id, vm_id, destination_vm_id, domain_uuid, name, memory_bytes,"
    " source_pool_id, source_host_id, destination_pool_id, destination_host_id,"
    " requested_host_id, mapping, spec, state, created_by, priority, retries, stall_timeout_s,"
    " bandwidth_bytes_per_s, network, was_slowed)"
    " SELECT ($1::jsonb ->> 'migration')::uuid, $2::uuid,"
    " CASE WHEN s.pool_id = $4::uuid THEN $2::uuid ELSE $3::uuid END,"
    " ($1::jsonb ->> 'domain')::uuid, $1::jsonb ->> 'name',"
    " ($1::jsonb ->> 'memory_bytes')::bigint, s.pool_id, s.id, $4::uuid,"
    " ($1::jsonb #>> '{destination,id}')::uuid, $5::uuid, $6::jsonb, $1::jsonb, 'queued', $7,"
    " $8::integer, $9::integer, $10::integer, $11::bigint, $12, $11::bigint > 0"
    " FROM host s WHERE s.id = ($1::jsonb #>> '{source,id}')::uuid";

bool migration_store_insert(struct db *db, const struct migration_new *made, struct error *err)
{
    auto_free char *spec = json_encode_text(migration_spec_fields, made->spec);
    const struct migration_policy *policy = made->policy;
    struct db_text priority = db_int(policy->priority);
    struct db_text retries = db_int(policy->retries);
    struct db_text stall = db_int(policy->stall_timeout_s);
    struct db_text bandwidth = db_int((int64_t)policy->bandwidth_bytes_per_s);
    if (db_query(db, sql_insert,
                 DB_PARAMS(spec, made->vm, made->destination_vm, made->destination_pool,
                           made->requested_host, made->mapping, made->created_by, priority.text,
                           retries.text, stall.text, bandwidth.text, policy->network),
                 NULL, err) &&
        migration_control_set_switchover(db, made->spec->migration, &policy->switchover, err))
        return true;
    if (err->code != ERROR_CONFLICT)
        return false;
    return error_set(err, ERROR_CONFLICT, "VM %s has an active migration already", made->vm);
}

static const char sql_set_spec[] =
    "UPDATE migration SET spec = $2::jsonb, memory_bytes = ($2::jsonb ->> 'memory_bytes')::bigint,"
    " source_host_id = ($2::jsonb #>> '{source,id}')::uuid,"
    " destination_host_id = ($2::jsonb #>> '{destination,id}')::uuid"
    " WHERE id = $1 AND state = 'queued'";

bool migration_store_set_spec(struct db *db, const struct migration_spec *spec, struct error *err)
{
    auto_free char *json = json_encode_text(migration_spec_fields, spec);
    return db_query(db, sql_set_spec, DB_PARAMS(spec->migration, json), NULL, err);
}

/* A state that is not the one it is to be moved from becomes NULL, which the column refuses. */
static const char sql_move[] =
    "UPDATE migration m SET state = CASE WHEN m.state = r.before THEN r.state END,"
    " epoch = r.epoch, waits_for = NULL, state_since = now(),"
    " copy_began_at = CASE WHEN r.state = 'transferring' THEN coalesce(copy_began_at, now())"
    "  WHEN r.state <> 'queued' THEN copy_began_at END,"
    " copy_ended_at = CASE WHEN r.state IN ('ready', 'handing_off')"
    "   THEN coalesce(copy_ended_at, now())"
    "  WHEN r.state <> 'queued' THEN copy_ended_at END,"
    " handoff_began_at = CASE WHEN r.state = 'handing_off' THEN now() ELSE handoff_began_at END,"
    " handoff_ended_at = CASE WHEN r.state = 'cleaning' THEN now() ELSE handoff_ended_at END,"
    " was_slowed = was_slowed OR (m.state = 'handing_off' AND r.state = 'transferring'),"
    " started_at = CASE WHEN r.state = 'preparing' THEN now() ELSE started_at END,"
    " ended_at = CASE WHEN r.state IN ('succeeded', 'failed', 'cancelled') THEN now() END"
    " FROM unnest((SELECT $1::uuid[]), (SELECT $2::text[]), (SELECT $3::text[]), (SELECT "
    "$4::bigint[])) AS r(id, before, state, epoch)"
    " WHERE m.id = r.id";

bool migration_store_move(struct db *db, struct migration_row *row, enum migration_state state,
                          int64_t epoch, struct error *err)
{
    struct db_text number = db_int(epoch);
    if (!db_post_row(db, sql_move,
                     DB_PARAMS(row->id, migration_state_names[row->state],
                               migration_state_names[state], number.text),
                     err))
        return false;
    row->state = state;
    row->epoch = epoch;
    return true;
}

static const char sql_set_error[] = "UPDATE migration SET error_code = $2, error_text = $3"
                                    " WHERE id = $1 AND error_code IS NULL";

bool migration_store_set_error(struct db *db, const char *id, const struct error *why,
                               struct error *err)
{
    return db_post(db, sql_set_error, DB_PARAMS(id, error_code_name(why->code), why->text), err);
}

static const char sql_ask_cancel[] =
    "UPDATE migration SET is_cancel_requested = true WHERE id = $1";

bool migration_store_ask_cancel(struct db *db, struct migration_row *row, struct error *err)
{
    if (!db_query(db, sql_ask_cancel, DB_PARAMS(row->id), NULL, err))
        return false;
    row->is_cancel_requested = true;
    return true;
}

static const char sql_set_waits_for[] =
    "UPDATE migration SET waits_for = $2 WHERE id = $1 AND waits_for IS DISTINCT FROM $2";

bool migration_store_set_waits_for(struct db *db, const char *id, const char *text,
                                   struct error *err)
{
    return db_post(db, sql_set_waits_for, DB_PARAMS(id, text), err);
}

static const char sql_set_pause[] = "UPDATE migration m SET pause_us = r.pause_us"
                                    " FROM unnest((SELECT $1::uuid[]), (SELECT $2::bigint[])) AS "
                                    "r(id, pause_us) WHERE m.id = r.id AND m.pause_us = 0";

bool migration_store_set_pause(struct db *db, const char *id, int64_t pause_us, struct error *err)
{
    struct db_text number = db_int(pause_us);
    return db_post_row(db, sql_set_pause, DB_PARAMS(id, number.text), err);
}

/* Inside a pool the row with this domain is the VM itself and moves; between pools it is new, or
 * the destination's inventory has made it with the same id. */
#define COMMITTED "unnest((SELECT $1::uuid[])) AS r(id) JOIN migration m ON m.id = r.id"
static const char sql_commit_vm[] =
    "INSERT INTO vm (id, pool_id, host_id, domain_uuid, name, state, memory_bytes, vcpus, type,"
    " features)"
    " SELECT m.destination_vm_id, m.destination_pool_id, m.destination_host_id, m.domain_uuid,"
    " m.name, 'running', m.memory_bytes, coalesce(v.vcpus, 1), coalesce(v.type, ''),"
    " coalesce(v.features, '')"
    " FROM " COMMITTED " LEFT JOIN vm v ON v.id = m.vm_id"
    " ON CONFLICT (pool_id, domain_uuid) DO UPDATE SET host_id = excluded.host_id,"
    " is_present = true";

static const char sql_commit_vbds[] =
    "INSERT INTO vbd (vm_id, device, position, vdi_id, format, size_bytes, is_movable, why_not)"
    " SELECT m.destination_vm_id, d.disk ->> 'device', d.position,"
    " (d.disk #>> '{destination,vdi}')::uuid, d.disk #>> '{destination,format}',"
    " (d.disk ->> 'size_bytes')::bigint, true, ''"
    " FROM " COMMITTED " CROSS JOIN LATERAL jsonb_array_elements(m.spec -> 'disks')"
    "  WITH ORDINALITY AS d(disk, position)"
    " ON CONFLICT (vm_id, device) DO UPDATE SET vdi_id = excluded.vdi_id,"
    " format = excluded.format, size_bytes = excluded.size_bytes";

static const char sql_commit_vifs[] =
    "INSERT INTO vif (vm_id, mac, position, network)"
    " SELECT m.destination_vm_id, f.vif ->> 'mac', f.position, f.vif ->> 'destination_network'"
    " FROM " COMMITTED " CROSS JOIN LATERAL jsonb_array_elements(m.spec -> 'vifs')"
    "  WITH ORDINALITY AS f(vif, position)"
    " ON CONFLICT (vm_id, mac) DO UPDATE SET network = excluded.network";

static const char sql_commit_source[] =
    "DELETE FROM vm USING " COMMITTED " WHERE vm.id = m.vm_id AND m.vm_id <> m.destination_vm_id";

bool migration_store_commit(struct db *db, const struct migration_row *row, struct error *err)
{
    static const char *const statements[] = {sql_commit_vm, sql_commit_vbds, sql_commit_vifs,
                                             sql_commit_source};
    for (size_t i = 0; i < sizeof statements / sizeof statements[0]; i++) {
        if (!db_post_row(db, statements[i], DB_PARAMS(row->id), err))
            return false;
    }
    return true;
}

static const char sql_release_vm[] = "DELETE FROM vm WHERE id = $1 AND NOT is_present";

bool migration_store_release_vm(struct db *db, const struct migration_row *row, struct error *err)
{
    return db_post(db, sql_release_vm, DB_PARAMS(row->vm), err);
}

static const char sql_load_of[] =
    "SELECT count(*) AS count FROM migration WHERE ended_at IS NULL AND state <> 'queued'"
    " AND (source_host_id = $1 OR destination_host_id = $1)";

bool migration_store_load_of(struct db *db, const char *host, int *count, struct error *err)
{
    auto_db_rows struct db_rows *rows = NULL;
    if (!db_query(db, sql_load_of, DB_PARAMS(host), &rows, err))
        return false;
    *count = (int)db_value_int(rows, 0, "count");
    return true;
}

static const char sql_queue[] =
    "WITH load AS (SELECT busy.host_id FROM migration m"
    "  CROSS JOIN LATERAL (VALUES (m.source_host_id), (m.destination_host_id)) AS busy(host_id)"
    "  WHERE m.ended_at IS NULL AND m.state <> 'queued'"
    "  GROUP BY busy.host_id HAVING count(*) >= $1::integer)"
    " SELECT q.id FROM migration q WHERE q.ended_at IS NULL AND q.state = 'queued'"
    " AND NOT q.is_copy_paused"
    " AND (q.not_before IS NULL OR q.not_before <= now())"
    " AND q.source_host_id NOT IN (SELECT host_id FROM load)"
    " AND (q.requested_host_id IS NULL OR q.requested_host_id NOT IN (SELECT host_id FROM load))"
    " ORDER BY q.priority DESC, q.sequence LIMIT $2";

bool migration_store_queue(struct db *db, int most, int limit, struct db_rows **rows,
                           struct error *err)
{
    struct db_text top = db_int(most);
    struct db_text count = db_int(limit);
    return db_query(db, sql_queue, DB_PARAMS(top.text, count.text), rows, err);
}

static const char sql_destination_lost[] =
    "SELECT m.id FROM migration m JOIN host d ON d.id = m.destination_host_id"
    " WHERE m.ended_at IS NULL AND d.last_seen < now() - make_interval(secs => $1::integer)"
    " AND (m.state IN ('preparing', 'transferring', 'ready') OR (m.state = 'aborting' AND EXISTS"
    "  (SELECT FROM step s WHERE s.migration_id = m.id AND s.kind = 'abort-source'"
    "   AND s.state = 'done' AND s.sequence > (SELECT max(p.sequence) FROM step p"
    "    WHERE p.migration_id = m.id AND p.kind = 'prepare'))))"
    " ORDER BY m.sequence";

bool migration_store_destination_lost(struct db *db, int seconds, struct db_rows **rows,
                                      struct error *err)
{
    struct db_text number = db_int(seconds);
    return db_query(db, sql_destination_lost, DB_PARAMS(number.text), rows, err);
}
