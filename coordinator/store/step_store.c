/* Rows of the table step; see step_store.h. */
#include "coordinator/store/step_store.h"

#include "coordinator/db/db_array.h"
#include "coordinator/store/word.h"

#include <string.h>

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
    " SELECT r.id, r.migration, r.host, r.kind, r.epoch, r.verdict, r.attempt,"
    " now() + make_interval(secs => r.delay)"
    " FROM unnest((SELECT $1::uuid[]), (SELECT $2::uuid[]), (SELECT $3::uuid[]), (SELECT "
    "$4::text[]), (SELECT $5::bigint[]), (SELECT $6::text[]),"
    "  (SELECT $7::integer[]), (SELECT $8::integer[]))"
    " AS r(id, migration, host, kind, epoch, verdict, attempt, delay)";

bool step_store_insert(struct db *db, const struct migration_row *migration,
                       const struct step_new *made, struct error *err)
{
    char id[UUID_SIZE];
    uuid_make(id);
    const char *host = host_of(migration, made->kind);
    struct db_text epoch = db_int(has_epoch(made->kind) ? migration->epoch : 0);
    struct db_text attempt = db_int(made->attempt);
    struct db_text delay = db_int(made->delay_s);
    if (!db_post_row(db, sql_insert,
                     DB_PARAMS(id, migration->id, host, step_kind_names[made->kind], epoch.text,
                               handoff_verdict_names[made->verdict], attempt.text, delay.text),
                     err))
        return false;
    step_store_wake(db, host);
    return true;
}

static const char sql_find[] =
    "SELECT s.id, s.migration_id, s.kind, s.epoch, s.verdict, s.attempt,"
    " s.is_live"
    " FROM unnest((SELECT $1::uuid[]), (SELECT $2::uuid[])) AS r(step, host)"
    " JOIN step s ON s.id = r.step AND s.host_id = r.host";

static void read_step_row(const struct db_rows *rows, int i, struct step_row *out)
{
    *out = (struct step_row){
        .kind = (enum step_kind)word_index(step_kind_names, db_value(rows, i, "kind")),
        .epoch = db_value_int(rows, i, "epoch"),
        .verdict =
            (enum handoff_verdict)word_index(handoff_verdict_names, db_value(rows, i, "verdict")),
        .is_live = db_value_bool(rows, i, "is_live"),
        .attempt = (int)db_value_int(rows, i, "attempt"),
    };
    memcpy(out->id, db_value(rows, i, "id"), UUID_SIZE);
    memcpy(out->migration, db_value(rows, i, "migration_id"), UUID_SIZE);
}

static void find_step(const struct db_rows *rows, struct answered_step *answered)
{
    for (int i = 0; !answered->is_found && i < db_count(rows); i++) {
        answered->is_found = strcmp(db_value(rows, i, "id"), answered->id) == 0;
        if (answered->is_found)
            read_step_row(rows, i, &answered->step);
    }
}

static bool is_taken_before(struct answered_step *const steps[], size_t count, const char *id)
{
    for (size_t i = 0; i < count; i++) {
        if (steps[i]->is_locked && strcmp(steps[i]->migration.id, id) == 0)
            return true;
    }
    return false;
}

static bool read_answered(const struct db_rows *migrations, const struct db_rows *found,
                          struct answered_step *const steps[], size_t count, struct error *err)
{
    for (size_t i = 0; i < count; i++) {
        struct answered_step *this = steps[i];
        find_step(found, this);
        if (!this->is_found || is_taken_before(steps, i, this->step.migration))
            continue;
        if (!migration_store_read(migrations, this->step.migration, &this->migration,
                                  &this->is_locked, err))
            return false;
    }
    return true;
}

/* Nor for long for what else they will lock: until the transaction ends. */
static const char sql_wait_little[] = "SELECT set_config('lock_timeout', '200ms', true)";

/* The steps are read by a statement of their own: it sees what whoever held the locks before has
 * written. */
bool step_store_lock(struct db *db, struct answered_step *const steps[], size_t count, bool waits,
                     struct error *err)
{
    auto_db_array struct db_array ids = {0};
    auto_db_array struct db_array hosts = {0};
    auto_db_rows struct db_rows *migrations = NULL;
    auto_db_rows struct db_rows *found = NULL;
    for (size_t i = 0; i < count; i++) {
        db_array_add(&ids, steps[i]->id);
        db_array_add(&hosts, steps[i]->host);
    }
    const char *const params[] = {db_array_text(&ids), db_array_text(&hosts)};
    const struct db_statement statements[] = {
        migration_store_lock_statement(params, waits, &migrations),
        {sql_find, 2, params, &found},
        {sql_wait_little, 0, NULL, NULL},
    };
    return db_query_all(db, statements, waits ? 2 : 3, err) &&
           read_answered(migrations, found, steps, count, err);
}

void answered_step_done(struct answered_step *step)
{
    migration_row_done(&step->migration);
    *step = (struct answered_step){.host = step->host, .id = step->id};
}

static const char sql_finish[] =
    "UPDATE step s SET state = CASE WHEN r.is_done THEN 'done' ELSE 'failed' END,"
    " error_code = r.code, error_text = r.text, ended_at = now()"
    " FROM unnest((SELECT $1::uuid[]), (SELECT $2::boolean[]), (SELECT $3::text[]), (SELECT "
    "$4::text[])) AS r(id, is_done, code, text)"
    " WHERE s.id = r.id AND s.is_live";

bool step_store_finish(struct db *db, const struct step_result *result, struct error *err)
{
    const char *code = result->is_done ? NULL : error_code_name(result->error);
    const char *text = result->is_done ? NULL : result->error_text;
    return db_post_row(db, sql_finish,
                       DB_PARAMS(result->step, db_bool(result->is_done), code, text), err);
}

static const char sql_supersede[] = "UPDATE step s SET state = 'superseded', ended_at = now()"
                                    " FROM unnest((SELECT $1::uuid[])) AS r(migration)"
                                    " WHERE s.migration_id = r.migration AND s.is_live";

bool step_store_supersede(struct db *db, const struct migration_row *migration, struct error *err)
{
    if (!db_post_row(db, sql_supersede, DB_PARAMS(migration->id), err))
        return false;
    step_store_wake(db, migration->source_host);
    step_store_wake(db, migration->destination_host);
    return true;
}

static const char sql_ask_cancel[] = "UPDATE step SET is_cancel_requested = true"
                                     " WHERE migration_id = $1 AND kind = $2 AND is_live";

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
    " AND is_live) AS is_live";

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

static const char sql_hasten[] = "UPDATE step SET not_before = now() WHERE migration_id = $1 AND "
                                 "kind = $2 AND is_live AND state = 'queued'"
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
    "SELECT DISTINCT host_id FROM step WHERE is_live"
    " AND (state = 'queued' OR is_cancel_requested) AND not_before <= now()"
    " UNION SELECT source_host_id FROM migration WHERE ended_at IS NULL"
    " AND source_host_id IS NOT NULL AND settings_changed_at > now() - interval '5 s'";

bool step_store_due_hosts(struct db *db, struct db_rows **rows, struct error *err)
{
    return db_query(db, sql_due_hosts, 0, NULL, rows, err);
}
