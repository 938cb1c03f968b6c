/* Changes of a migration beside its state; see migration_control.h. */
#include "coordinator/store/migration_control.h"

/* Is the switch-over held, when nobody asked for it? Of a row `m` with its new policy. */
#define HELD(when, from, until)                                                                    \
    "CASE " when " WHEN 'manual' THEN true WHEN 'window' THEN coalesce(" from " > now(), false)"   \
    " OR coalesce(" until " <= now(), false) ELSE false END"

static const char sql_set_switchover[] =
    "UPDATE migration SET switchover = $2, switchover_from = to_timestamp(nullif($3::bigint, 0)),"
    " switchover_until = to_timestamp(nullif($4::bigint, 0)), is_switchover_requested = false,"
    " is_switchover_held = " HELD(
        "$2", "to_timestamp(nullif($3::bigint, 0))",
        "to_timestamp(nullif($4::bigint, 0))") ","
                                               " settings_version = settings_version + CASE WHEN "
                                               "switchover = $2 AND $2 = 'automatic' THEN 0"
                                               "  ELSE 1 END"
                                               " WHERE id = $1";

bool migration_control_set_switchover(struct db *db, const char *id,
                                      const struct switchover *switchover, struct error *err)
{
    struct db_text from = db_int(switchover->not_before_s);
    struct db_text until = db_int(switchover->not_after_s);
    return db_query(db, sql_set_switchover,
                    DB_PARAMS(id, switchover_when_names[switchover->when], from.text, until.text),
                    NULL, err);
}

static const char sql_change[] =
    "UPDATE migration SET priority = coalesce($2::integer, priority),"
    " bandwidth_bytes_per_s = coalesce($3::bigint, bandwidth_bytes_per_s),"
    " was_slowed = was_slowed OR coalesce($3::bigint, 0) > 0,"
    " settings_version = settings_version + CASE WHEN $3::bigint IS DISTINCT FROM"
    "  bandwidth_bytes_per_s AND $3 IS NOT NULL THEN 1 ELSE 0 END,"
    " retries = coalesce($4::integer, retries),"
    " stall_timeout_s = coalesce($5::integer, stall_timeout_s), network = coalesce($6, network)"
    " WHERE id = $1";

bool migration_control_change(struct db *db, const char *id, const struct policy_change *change,
                              struct error *err)
{
    const struct migration_policy *policy = &change->policy;
    struct db_text priority = db_int(policy->priority);
    struct db_text bandwidth = db_int((int64_t)policy->bandwidth_bytes_per_s);
    struct db_text retries = db_int(policy->retries);
    struct db_text stall = db_int(policy->stall_timeout_s);
    return db_query(db, sql_change,
                    DB_PARAMS(id, change->has_priority ? priority.text : NULL,
                              change->has_bandwidth ? bandwidth.text : NULL,
                              change->has_retries ? retries.text : NULL,
                              change->has_stall_timeout ? stall.text : NULL,
                              change->has_network ? policy->network : NULL),
                    NULL, err);
}

static const char sql_pause[] =
    "UPDATE migration SET is_copy_paused = $2::boolean, was_slowed = true,"
    " settings_version = settings_version + 1 WHERE id = $1 AND is_copy_paused <> $2::boolean";

/* What was paused has not stalled. */
static const char sql_moved[] =
    "UPDATE migration_progress SET moved_at = now() WHERE migration_id = $1";

bool migration_control_pause(struct db *db, const char *id, bool is_paused, struct error *err)
{
    return db_query(db, sql_pause, DB_PARAMS(id, db_bool(is_paused)), NULL, err) &&
           db_query(db, sql_moved, DB_PARAMS(id), NULL, err);
}

static const char sql_let_switch[] =
    "UPDATE migration SET is_switchover_requested = true, is_switchover_held = false,"
    " settings_version = settings_version + CASE WHEN is_switchover_held THEN 1 ELSE 0 END"
    " WHERE id = $1";

bool migration_control_let_switch(struct db *db, const char *id, struct error *err)
{
    return db_query(db, sql_let_switch, DB_PARAMS(id), NULL, err);
}

/* 5, 10, 20 ... 300 s. */
static const char sql_retry[] =
    "UPDATE migration SET retries_used = retries_used + 1, error_code = NULL, error_text = NULL,"
    " not_before = now() + make_interval(secs => least(300, 5 * 2 ^ least(retries_used, 10))),"
    " waits_for = left('retry ' || retries_used + 1 || ' of ' || retries || ', in '"
    "  || least(300, 5 * 2 ^ least(retries_used, 10)) || ' s: ' || error_text, 512)"
    " WHERE id = $1";

static const char sql_forget_progress[] = "DELETE FROM migration_progress WHERE migration_id = $1";

bool migration_control_retry(struct db *db, const char *id, struct error *err)
{
    return db_query(db, sql_retry, DB_PARAMS(id), NULL, err) &&
           db_query(db, sql_forget_progress, DB_PARAMS(id), NULL, err);
}

static const char sql_no_retry[] = "UPDATE migration SET retries = retries_used WHERE id = $1";

bool migration_control_no_retry(struct db *db, const char *id, struct error *err)
{
    return db_query(db, sql_no_retry, DB_PARAMS(id), NULL, err);
}

static const char sql_windows[] =
    "UPDATE migration SET is_switchover_held = NOT is_switchover_held,"
    " settings_version = settings_version + 1"
    " WHERE state IN ('queued', 'preparing', 'transferring', 'ready', 'handing_off')"
    " AND switchover = 'window' AND NOT is_switchover_requested AND is_switchover_held <> " HELD(
        "switchover", "switchover_from", "switchover_until") " RETURNING source_host_id";

bool migration_control_windows(struct db *db, struct db_rows **rows, struct error *err)
{
    return db_query(db, sql_windows, 0, NULL, rows, err);
}

static const char sql_stalled[] =
    "SELECT m.id, m.stall_timeout_s FROM migration m JOIN host s ON s.id = m.source_host_id"
    " LEFT JOIN migration_progress p ON p.migration_id = m.id"
    " WHERE m.state = 'transferring' AND NOT m.is_copy_paused"
    " AND s.last_seen > now() - interval '5 s'"
    " AND greatest(p.moved_at, m.state_since) < now() - make_interval(secs => m.stall_timeout_s)"
    " ORDER BY m.sequence";

bool migration_control_stalled(struct db *db, struct db_rows **rows, struct error *err)
{
    return db_query(db, sql_stalled, 0, NULL, rows, err);
}

static const char sql_mirror_news[] =
    "SELECT m.id, p.progress ->> 'phase' = 'mirrored' AS is_mirrored FROM migration m"
    " JOIN migration_progress p ON p.migration_id = m.id"
    " WHERE m.source_host_id = $1 AND m.ended_at IS NULL AND ((m.state = 'transferring'"
    "  AND m.is_switchover_held AND p.progress ->> 'phase' = 'mirrored')"
    "  OR (m.state = 'ready' AND p.progress ->> 'phase' IN ('copying', 'stalled')))";

bool migration_control_mirror_news(struct db *db, const char *host, struct db_rows **rows,
                                   struct error *err)
{
    return db_query(db, sql_mirror_news, DB_PARAMS(host), rows, err);
}
