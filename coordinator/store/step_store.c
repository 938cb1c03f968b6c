/* Rows of the table step; see step_store.h. */
#include "coordinator/store/step_store.h"

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/memory.h"
#include "coordinator/store/inventory_store.h"
#include "coordinator/store/word.h"

#include <stdlib.h>
#include <string.h>

enum { POLL_STEPS = 64 }; /* in one answer; the rest comes with the next poll */

void step_store_wake(struct db *db, const char *host)
{
    if (host[0])
        db_notify(db, "host_steps", host);
}

static bool has_epoch(enum step_kind kind)
{
    return kind == STEP_RECEIVE || kind == STEP_HANDOFF || kind == STEP_CONCLUDE;
}

static const char *host_of(const struct migration_row *migration, enum step_kind kind)
{
    return step_role(kind) == ROLE_SOURCE ? migration->source_host : migration->destination_host;
}

static const char sql_insert[] =
    "INSERT INTO step (id, migration_id, host_id, kind, epoch, verdict, attempt, not_before)"
    " VALUES ($1, $2, $3, $4, $5, $6, $7, now() + make_interval(secs => $8::integer))";

bool step_store_insert(struct db *db, const struct migration_row *migration,
                       const struct step_new *made, struct error *err)
{
    char id[UUID_SIZE];
    uuid_make(id);
    const char *host = host_of(migration, made->kind);
    struct db_text epoch = db_int(has_epoch(made->kind) ? migration->epoch : 0);
    struct db_text attempt = db_int(made->attempt);
    struct db_text delay = db_int(made->delay_s);
    if (!db_post(db, sql_insert,
                 DB_PARAMS(id, migration->id, host, step_kind_names[made->kind], epoch.text,
                           handoff_verdict_names[made->verdict], attempt.text, delay.text),
                 err))
        return false;
    step_store_wake(db, host);
    return true;
}

static const char sql_find[] =
    "SELECT id, migration_id, kind, epoch, verdict, state IN ('queued', 'running') AS is_live,"
    " attempt FROM step WHERE id = $1 AND host_id = $2";

bool step_store_find(struct db *db, const char *host, const char *id, struct step_row *row,
                     bool *is_found, struct error *err)
{
    auto_db_rows struct db_rows *rows = NULL;
    if (!db_query(db, sql_find, DB_PARAMS(id, host), &rows, err))
        return false;
    *is_found = db_count(rows) == 1;
    if (!*is_found)
        return true;
    *row = (struct step_row){
        .kind = (enum step_kind)word_index(step_kind_names, db_value(rows, 0, "kind")),
        .epoch = db_value_int(rows, 0, "epoch"),
        .verdict =
            (enum handoff_verdict)word_index(handoff_verdict_names, db_value(rows, 0, "verdict")),
        .is_live = db_value_bool(rows, 0, "is_live"),
        .attempt = (int)db_value_int(rows, 0, "attempt"),
    };
    memcpy(row->id, id, UUID_SIZE);
    memcpy(row->migration, db_value(rows, 0, "migration_id"), UUID_SIZE);
    return true;
}

static const char sql_finish[] =
    "UPDATE step SET state = CASE WHEN $2::boolean THEN 'done' ELSE 'failed' END,"
    " error_code = $3, error_text = $4, ended_at = now()"
    " WHERE id = $1 AND state IN ('queued', 'running')";

bool step_store_finish(struct db *db, const struct step_result *result, struct error *err)
{
    const char *code = result->is_done ? NULL : error_code_name(result->error);
    const char *text = result->is_done ? NULL : result->error_text;
    return db_post(db, sql_finish, DB_PARAMS(result->step, db_bool(result->is_done), code, text),
                   err);
}

static const char sql_supersede[] = "UPDATE step SET state = 'superseded', ended_at = now()"
                                    " WHERE migration_id = $1 AND state IN ('queued', 'running')";

bool step_store_supersede(struct db *db, const struct migration_row *migration, struct error *err)
{
    if (!db_post(db, sql_supersede, DB_PARAMS(migration->id), err))
        return false;
    step_store_wake(db, migration->source_host);
    step_store_wake(db, migration->destination_host);
    return true;
}

static const char sql_ask_cancel[] =
    "UPDATE step SET is_cancel_requested = true"
    " WHERE migration_id = $1 AND kind = $2 AND state IN ('queued', 'running')";

bool step_store_ask_cancel(struct db *db, const struct migration_row *migration,
                           enum step_kind kind, struct error *err)
{
    if (!db_post(db, sql_ask_cancel, DB_PARAMS(migration->id, step_kind_names[kind]), err))
        return false;
    step_store_wake(db, host_of(migration, kind));
    return true;
}

static const char sql_aborted[] =
    "SELECT coalesce(bool_or(kind = 'abort-source'), false) AS source,"
    " coalesce(bool_or(kind = 'abort-destination'), false) AS destination"
    " FROM step WHERE migration_id = $1 AND state = 'done' AND sequence > (SELECT max(p.sequence)"
    "  FROM step p WHERE p.migration_id = $1 AND p.kind = 'prepare')";

bool step_store_aborted(struct db *db, const char *migration, bool *source, bool *destination,
                        struct error *err)
{
    auto_db_rows struct db_rows *rows = NULL;
    if (!db_query(db, sql_aborted, DB_PARAMS(migration), &rows, err))
        return false;
    *source = db_value_bool(rows, 0, "source");
    *destination = db_value_bool(rows, 0, "destination");
    return true;
}

static const char sql_is_live[] =
    "SELECT EXISTS (SELECT FROM step WHERE migration_id = $1 AND kind = $2"
    " AND state IN ('queued', 'running')) AS is_live";

bool step_store_is_live(struct db *db, const char *migration, enum step_kind kind, bool *is_live,
                        struct error *err)
{
    auto_db_rows struct db_rows *rows = NULL;
    if (!db_query(db, sql_is_live, DB_PARAMS(migration, step_kind_names[kind]), &rows, err))
        return false;
    *is_live = db_value_bool(rows, 0, "is_live");
    return true;
}

static const char sql_receive_error[] =
    "SELECT error_code, error_text FROM step WHERE migration_id = $1 AND kind = 'receive'"
    " AND epoch = $2 AND state = 'failed' AND error_code IS NOT NULL";

bool step_store_receive_error(struct db *db, const char *migration, int64_t epoch, bool *has_failed,
                              struct error *why, struct error *err)
{
    auto_db_rows struct db_rows *rows = NULL;
    struct db_text number = db_int(epoch);
    if (!db_query(db, sql_receive_error, DB_PARAMS(migration, number.text), &rows, err))
        return false;
    *has_failed = db_count(rows) > 0;
    if (!*has_failed)
        return true;
    enum error_code code = ERROR_INTERNAL;
    if (!error_code_parse(db_value(rows, 0, "error_code"), &code))
        code = ERROR_INTERNAL;
    error_set(why, code, "%s", db_value(rows, 0, "error_text"));
    return true;
}

/* {"a","b"} as PostgreSQL's {a,b}. Only UUIDs, so nothing needs quoting. */
static bool uuid_list(const struct json_array *ids, const char *what, char **out, struct error *err)
{
    struct buffer text;
    buffer_init(&text, 64 << 10);
    bool is_good = buffer_append(&text, "{", 1, err);
    for (size_t i = 0; is_good && i < ids->count; i++) {
        const char *id = ((char *const *)ids->items)[i];
        is_good = uuid_is_valid(id) ? buffer_printf(&text, err, "%s%s", i ? "," : "", id)
                                    : error_set(err, ERROR_INVALID,
                                                "/%s/%zu: expected a UUID in lower case", what, i);
    }
    if (!is_good || !buffer_append(&text, "}", 1, err)) {
        buffer_done(&text);
        return false;
    }
    *out = buffer_take(&text);
    return true;
}

static const char sql_running[] =
    "UPDATE step SET state = 'running' WHERE host_id = $1 AND state = 'queued'"
    " AND id = ANY ($2::uuid[])";

static const char sql_poll_steps[] =
    "SELECT s.id, s.kind, s.epoch, s.verdict, m.spec::text AS spec"
    " FROM step s JOIN migration m ON m.id = s.migration_id"
    " WHERE s.host_id = $1 AND s.state IN ('queued', 'running') AND s.not_before <= now()"
    " AND s.id <> ALL ($2::uuid[]) ORDER BY s.sequence LIMIT $3";

static bool read_step(const struct db_rows *rows, int i, struct step *out, struct error *err)
{
    const char *spec = db_value(rows, i, "spec");
    struct step step = {
        .kind = (enum step_kind)word_index(step_kind_names, db_value(rows, i, "kind")),
        .epoch = db_value_int(rows, i, "epoch"),
        .verdict =
            (enum handoff_verdict)word_index(handoff_verdict_names, db_value(rows, i, "verdict")),
    };
    memcpy(step.id, db_value(rows, i, "id"), UUID_SIZE);
    if (!json_decode_text(spec, strlen(spec), migration_spec_fields, &step.spec, err))
        return error_prefix(err, "stored spec of step %s", step.id);
    *out = step;
    return true;
}

static bool read_steps(const struct db_rows *rows, const struct agent_poll *poll,
                       struct agent_poll_answer *answer, struct error *err)
{
    struct step *steps = memory_array((size_t)db_count(rows), sizeof *steps);
    answer->steps.items = steps;
    for (int i = 0; i < db_count(rows); i++) {
        if (!read_step(rows, i, &steps[i], err))
            return false;
        if (!poll->takes_traceparent)
            steps[i].spec.has_traceparent = false;
        answer->steps.count++;
    }
    return true;
}

static const char sql_poll_cancel[] =
    "SELECT id FROM step WHERE host_id = $1 AND id = ANY ($2::uuid[]) AND id <> ALL ($3::uuid[])"
    " AND (state = 'superseded' OR is_cancel_requested) ORDER BY sequence";

static void read_cancel(const struct db_rows *rows, struct agent_poll_answer *answer)
{
    char **ids = memory_array((size_t)db_count(rows), sizeof *ids);
    answer->cancel.items = ids;
    for (int i = 0; i < db_count(rows); i++)
        ids[answer->cancel.count++] = memory_copy_text(db_value(rows, i, "id"));
}

static const char sql_poll_settings[] =
    "SELECT m.id, m.settings_version, m.bandwidth_bytes_per_s, m.is_copy_paused,"
    " m.is_switchover_held FROM migration m WHERE m.source_host_id = $1"
    " AND m.state IN ('preparing', 'transferring', 'ready') AND m.settings_version > coalesce("
    "  (SELECT max(k.version) FROM jsonb_to_recordset($2::jsonb -> 'settings')"
    "   AS k(migration uuid, version bigint) WHERE k.migration = m.id), 0)"
    " ORDER BY m.sequence LIMIT $3";

static void read_settings(const struct db_rows *rows, struct agent_poll_answer *answer)
{
    struct transfer_settings *items = memory_array((size_t)db_count(rows), sizeof *items);
    for (int i = 0; i < db_count(rows); i++) {
        items[i] = (struct transfer_settings){
            .version = db_value_int(rows, i, "settings_version"),
            .bandwidth_bytes_per_s = (uint64_t)db_value_int(rows, i, "bandwidth_bytes_per_s"),
            .is_copy_paused = db_value_bool(rows, i, "is_copy_paused"),
            .is_switchover_held = db_value_bool(rows, i, "is_switchover_held"),
        };
        memcpy(items[i].migration, db_value(rows, i, "id"), UUID_SIZE);
    }
    answer->settings = (struct json_array){.items = items, .count = (size_t)db_count(rows)};
}

/* All of it in one journey: a poll that finds nothing is what thousands of hosts ask all the time.
 * What nobody knows cannot be cancelled, so that is not asked then. */
static bool ask_poll(struct db *db, const struct step_poller *poller, const struct agent_poll *poll,
                     const char *const lists[2], struct db_rows *found[3], struct error *err)
{
    const char *host = poller->host;
    auto_free char *json = poll->has_settings ? json_encode_text(agent_poll_fields, poll) : NULL;
    struct db_text limit = db_int(POLL_STEPS), lost = db_int(poller->lost_after_s);
    const char *const seen[] = {host, lost.text};
    const char *const steps[] = {host, lists[0], limit.text};
    const char *const cancel[] = {host, lists[0], lists[1]};
    const char *const settings[] = {host, json, limit.text};
    struct db_statement statements[HOST_SEEN_STATEMENTS + 3];
    int count = HOST_SEEN_STATEMENTS;
    inventory_store_seen_statements(seen, statements);
    statements[count++] = (struct db_statement){sql_poll_steps, 3, steps, &found[0]};
    if (poll->known.count)
        statements[count++] = (struct db_statement){sql_poll_cancel, 3, cancel, &found[1]};
    if (poll->has_settings)
        statements[count++] = (struct db_statement){sql_poll_settings, 3, settings, &found[2]};
    return db_query_all(db, statements, count, err);
}

static bool read_poll(struct db_rows *const found[3], const struct agent_poll *poll,
                      struct agent_poll_answer *answer, struct error *err)
{
    answer->has_settings = poll->has_settings;
    if (found[1])
        read_cancel(found[1], answer);
    if (found[2])
        read_settings(found[2], answer);
    return read_steps(found[0], poll, answer, err);
}

bool step_store_poll(struct db *db, const struct step_poller *poller, const struct agent_poll *poll,
                     struct agent_poll_answer *answer, struct error *err)
{
    auto_free char *known = NULL;
    auto_free char *cancelling = NULL;
    struct db_rows *found[3] = {NULL};
    struct agent_poll_answer made = {0};
    if (!uuid_list(&poll->known, "known", &known, err) ||
        !uuid_list(&poll->cancelling, "cancelling", &cancelling, err))
        return false;
    if (poll->known.count && !db_query(db, sql_running, DB_PARAMS(poller->host, known), NULL, err))
        return false;
    bool is_done =
        ask_poll(db, poller, poll, (const char *const[]){known, cancelling}, found, err) &&
        read_poll(found, poll, &made, err);
    for (int i = 0; i < 3; i++)
        db_rows_free(found[i]);
    if (is_done)
        *answer = made;
    else
        json_release(agent_poll_answer_fields, &made);
    return is_done;
}

static const char sql_hasten[] =
    "UPDATE step SET not_before = now() WHERE migration_id = $1 AND kind = $2 AND state = 'queued'"
    " AND not_before > now()";

bool step_store_hasten(struct db *db, const struct migration_row *migration, enum step_kind kind,
                       struct error *err)
{
    if (!db_post(db, sql_hasten, DB_PARAMS(migration->id, step_kind_names[kind]), err))
        return false;
    step_store_wake(db, host_of(migration, kind));
    return true;
}

static const char sql_due_hosts[] =
    "SELECT DISTINCT host_id FROM step WHERE state IN ('queued', 'running')"
    " AND (state = 'queued' OR is_cancel_requested) AND not_before <= now()"
    " UNION SELECT source_host_id FROM migration WHERE ended_at IS NULL"
    " AND source_host_id IS NOT NULL AND settings_changed_at > now() - interval '5 s'";

bool step_store_due_hosts(struct db *db, struct db_rows **rows, struct error *err)
{
    return db_query(db, sql_due_hosts, 0, NULL, rows, err);
}
