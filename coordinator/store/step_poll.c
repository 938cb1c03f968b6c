/* Polls of many hosts at once; see step_poll.h. A poll that finds nothing is what thousands of
 * hosts ask all the time. */
#include "coordinator/store/step_poll.h"

#include "base/cleanup.h"
#include "base/memory.h"
#include "coordinator/db/db_array.h"
#include "coordinator/store/inventory_store.h"
#include "coordinator/store/word.h"

#include <string.h>

enum { STEPS_MOST = 64 }; /* of one answer; the rest comes with the next poll */

/* A column of the array parameters for each; `n` is the poll's place in the list. */
struct columns {
    struct db_array n, hosts, known, cancelling, settings;
};

static void done_columns(struct columns *columns)
{
    db_array_done(&columns->n);
    db_array_done(&columns->hosts);
    db_array_done(&columns->known);
    db_array_done(&columns->cancelling);
    db_array_done(&columns->settings);
}
#define auto_columns __attribute__((cleanup(done_columns)))

/* An array as an element of one. */
static void add_ids(struct db_array *column, const struct json_array *ids)
{
    auto_db_array struct db_array list = {0};
    for (size_t i = 0; i < ids->count; i++)
        db_array_add(&list, ((char *const *)ids->items)[i]);
    db_array_add(column, db_array_text(&list));
}

static void add_poll(struct columns *columns, size_t n, const struct step_poll *poll)
{
    struct db_text number = db_int((int64_t)n);
    auto_free char *json =
        poll->poll->has_settings ? json_encode_text(agent_poll_fields, poll->poll) : NULL;
    db_array_add(&columns->n, number.text);
    db_array_add(&columns->hosts, poll->host);
    add_ids(&columns->known, &poll->poll->known);
    add_ids(&columns->cancelling, &poll->poll->cancelling);
    db_array_add(&columns->settings, json);
}

/* ---- known steps are running ---- */

/* One that somebody has locked is marked by a later poll: polls must not wait for each other, nor
 * for whoever changes a migration. */
static const char sql_running[] =
    "UPDATE step SET state = 'running' FROM (SELECT s.id"
    "  FROM unnest((SELECT $1::uuid[]), (SELECT $2::uuid[])) AS r(host, step)"
    "  JOIN step s ON s.id = r.step AND s.host_id = r.host WHERE s.state = 'queued'"
    "  FOR NO KEY UPDATE OF s SKIP LOCKED) AS k"
    " WHERE step.id = k.id";

static bool mark_running(struct db *db, struct step_poll *const polls[], size_t count,
                         struct error *err)
{
    auto_db_array struct db_array hosts = {0};
    auto_db_array struct db_array known = {0};
    for (size_t i = 0; i < count; i++) {
        const struct json_array *ids = &polls[i]->poll->known;
        for (size_t k = 0; k < ids->count; k++) {
            db_array_add(&hosts, polls[i]->host);
            db_array_add(&known, ((char *const *)ids->items)[k]);
        }
    }
    return !known.size ||
           db_query(db, sql_running, DB_PARAMS(db_array_text(&hosts), db_array_text(&known)), NULL,
                    err);
}

/* ---- steps ---- */

static const char sql_steps[] =
    "SELECT r.n, s.id, s.kind, s.epoch, s.verdict, m.spec::text AS spec"
    " FROM unnest((SELECT $1::integer[]), (SELECT $2::uuid[]), (SELECT $3::text[]))"
    "  AS r(n, host, known)"
    " CROSS JOIN LATERAL (SELECT * FROM step WHERE step.host_id = r.host"
    "  AND step.is_live AND step.not_before <= now()"
    "  AND step.id <> ALL (r.known::uuid[]) ORDER BY step.sequence LIMIT $4) AS s"
    " JOIN migration m ON m.id = s.migration_id ORDER BY r.n, s.sequence";

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

/* The rows of poll number n begin at *at, and all belong to it as long as their n is that. */
static int rows_of(const struct db_rows *rows, int at, size_t n)
{
    int count = 0;
    while (at + count < db_count(rows) && db_value_int(rows, at + count, "n") == (int64_t)n)
        count++;
    return count;
}

static bool read_steps(const struct db_rows *rows, int at, int count, struct step_poll *poll,
                       struct error *err)
{
    struct step *steps = memory_array((size_t)count, sizeof *steps);
    poll->answer.steps.items = steps;
    for (int i = 0; i < count; i++) {
        if (!read_step(rows, at + i, &steps[i], err))
            return false;
        if (!poll->poll->takes_traceparent)
            steps[i].spec.has_traceparent = false;
        poll->answer.steps.count++;
    }
    return true;
}

/* ---- steps to stop ---- */

static const char sql_cancel[] =
    "SELECT r.n, s.id"
    " FROM unnest((SELECT $1::integer[]), (SELECT $2::uuid[]), (SELECT $3::text[]),"
    "  (SELECT $4::text[])) AS r(n, host, known, cancelling)"
    " JOIN step s ON s.id = ANY (r.known::uuid[]) AND s.host_id = r.host"
    " WHERE s.id <> ALL (r.cancelling::uuid[])"
    " AND (s.state = 'superseded' OR s.is_cancel_requested)"
    " ORDER BY r.n, s.sequence";

static void read_cancel(const struct db_rows *rows, int at, int count, struct step_poll *poll)
{
    char **ids = memory_array((size_t)count, sizeof *ids);
    poll->answer.cancel = (struct json_array){.items = ids, .count = (size_t)count};
    for (int i = 0; i < count; i++)
        ids[i] = memory_copy_text(db_value(rows, at + i, "id"));
}

/* ---- settings ---- */

static const char sql_settings[] =
    "SELECT r.n, m.id, m.settings_version, m.bandwidth_bytes_per_s, m.is_copy_paused,"
    " m.is_switchover_held"
    " FROM unnest((SELECT $1::integer[]), (SELECT $2::uuid[]), (SELECT $3::jsonb[]))"
    "  AS r(n, host, poll)"
    " CROSS JOIN LATERAL (SELECT * FROM migration WHERE source_host_id = r.host"
    "  AND state IN ('preparing', 'transferring', 'ready') AND settings_version > coalesce("
    "   (SELECT max(k.version) FROM jsonb_to_recordset(r.poll -> 'settings')"
    "    AS k(migration uuid, version bigint) WHERE k.migration = migration.id), 0)"
    "  ORDER BY migration.sequence LIMIT $4) AS m"
    " WHERE r.poll IS NOT NULL ORDER BY r.n, m.sequence";

static void read_settings(const struct db_rows *rows, int at, int count, struct step_poll *poll)
{
    struct transfer_settings *items = memory_array((size_t)count, sizeof *items);
    for (int i = 0; i < count; i++) {
        items[i] = (struct transfer_settings){
            .version = db_value_int(rows, at + i, "settings_version"),
            .bandwidth_bytes_per_s = (uint64_t)db_value_int(rows, at + i, "bandwidth_bytes_per_s"),
            .is_copy_paused = db_value_bool(rows, at + i, "is_copy_paused"),
            .is_switchover_held = db_value_bool(rows, at + i, "is_switchover_held"),
        };
        memcpy(items[i].migration, db_value(rows, at + i, "id"), UUID_SIZE);
    }
    poll->answer.settings = (struct json_array){.items = items, .count = (size_t)count};
}

/* ---- together ---- */

struct found {
    struct db_rows *steps, *cancel, *settings; /* the latter two NULL: not asked for */
};

static void done_found(struct found *found)
{
    db_rows_free(found->steps);
    db_rows_free(found->cancel);
    db_rows_free(found->settings);
}
#define auto_found __attribute__((cleanup(done_found)))

/* In one journey. What nobody knows cannot be cancelled, so that is not asked then. */
static bool ask(struct db *db, struct step_poll *const polls[], size_t count, int lost_after_s,
                struct found *found, struct error *err)
{
    auto_columns struct columns columns = {0};
    bool has_known = false;
    bool has_settings = false;
    for (size_t i = 0; i < count; i++) {
        add_poll(&columns, i, polls[i]);
        has_known = has_known || polls[i]->poll->known.count;
        has_settings = has_settings || polls[i]->poll->has_settings;
    }
    struct db_text most = db_int(STEPS_MOST), lost = db_int(lost_after_s);
    const char *n = db_array_text(&columns.n), *hosts = db_array_text(&columns.hosts);
    const char *known = db_array_text(&columns.known);
    const char *const seen[] = {hosts, lost.text};
    const char *const steps[] = {n, hosts, known, most.text};
    const char *const cancel[] = {n, hosts, known, db_array_text(&columns.cancelling)};
    const char *const settings[] = {n, hosts, db_array_text(&columns.settings), most.text};
    struct db_statement statements[4] = {inventory_store_seen_statement(seen),
                                         {sql_steps, 4, steps, &found->steps}};
    int asked = 2;
    if (has_known)
        statements[asked++] = (struct db_statement){sql_cancel, 4, cancel, &found->cancel};
    if (has_settings)
        statements[asked++] = (struct db_statement){sql_settings, 4, settings, &found->settings};
    return db_query_all(db, statements, asked, err);
}

static bool read_answers(const struct found *found, struct step_poll *const polls[], size_t count,
                         struct error *err)
{
    int step = 0, cancel = 0, setting = 0;
    for (size_t i = 0; i < count; i++) {
        struct step_poll *poll = polls[i];
        int steps = rows_of(found->steps, step, i);
        int cancels = found->cancel ? rows_of(found->cancel, cancel, i) : 0;
        int settings = found->settings ? rows_of(found->settings, setting, i) : 0;
        poll->answer.has_settings = poll->poll->has_settings;
        if (!read_steps(found->steps, step, steps, poll, err))
            return false;
        read_cancel(found->cancel, cancel, cancels, poll);
        read_settings(found->settings, setting, settings, poll);
        step += steps;
        cancel += cancels;
        setting += settings;
    }
    return true;
}

bool step_poll_answer(struct db *db, struct step_poll *const polls[], size_t count,
                      int lost_after_s, struct error *err)
{
    auto_found struct found found = {0};
    if (mark_running(db, polls, count, err) && ask(db, polls, count, lost_after_s, &found, err) &&
        read_answers(&found, polls, count, err))
        return true;
    for (size_t i = 0; i < count; i++) {
        json_release(agent_poll_answer_fields, &polls[i]->answer);
        polls[i]->answer = (struct agent_poll_answer){0};
    }
    return false;
}
