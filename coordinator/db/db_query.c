/* Statements with bound parameters, transactions, and what a failed statement means. */
#include "coordinator/db/db_connection.h"

#include "base/memory.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct db_rows {
    PGresult *result;
};

/* SQLSTATE (PostgreSQL, appendix A) to our codes; the first prefix that fits wins. */
static const struct {
    const char *prefix;
    enum error_code code;
    bool is_connection_lost;
} sqlstates[] = {
    {"23505", ERROR_CONFLICT, false},    /* unique_violation */
    {"23P01", ERROR_CONFLICT, false},    /* exclusion_violation */
    {"23", ERROR_INVALID, false},        /* foreign key, check, not null */
    {"22", ERROR_INVALID, false},        /* data exception: a value that does not fit its type */
    {"40", ERROR_TIMEOUT, false},        /* serialization failure, deadlock */
    {"55P03", ERROR_TIMEOUT, false},     /* lock_not_available */
    {"57014", ERROR_TIMEOUT, false},     /* query_canceled: statement_timeout */
    {"0A000", ERROR_UNREACHABLE, true},  /* a prepared statement's columns are others now */
    {"26000", ERROR_UNREACHABLE, true},  /* somebody has forgotten a prepared statement */
    {"57", ERROR_UNREACHABLE, true},     /* shutdown, crash, cannot_connect_now */
    {"08", ERROR_UNREACHABLE, true},     /* connection exception */
    {"25P03", ERROR_UNREACHABLE, true},  /* idle_in_transaction_session_timeout */
    {"25006", ERROR_UNREACHABLE, true},  /* read-only: connected to a standby */
    {"53300", ERROR_UNREACHABLE, false}, /* too_many_connections */
    {"53", ERROR_NO_SPACE, false},       /* disk full, out of memory */
};

static bool statement_failed(struct db *db, const PGresult *result, struct error *err)
{
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    char text[200];
    const char *primary = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    db_first_line(primary ? primary : PQresultErrorMessage(result), text, sizeof text);
    enum error_code code = ERROR_INTERNAL;
    bool is_lost = PQstatus(db->connection) == CONNECTION_BAD;
    for (size_t i = 0; state && i < sizeof sqlstates / sizeof *sqlstates; i++) {
        if (strncmp(state, sqlstates[i].prefix, strlen(sqlstates[i].prefix)) != 0)
            continue;
        code = sqlstates[i].code;
        is_lost = is_lost || sqlstates[i].is_connection_lost;
        break;
    }
    if (is_lost) {
        db_disconnect(db);
        code = ERROR_UNREACHABLE;
    }
    return error_set(err, code, "database: %s (%s)", text, state ? state : "no SQLSTATE");
}

static bool is_good(const PGresult *result)
{
    ExecStatusType status = PQresultStatus(result);
    return status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK || status == PGRES_EMPTY_QUERY;
}

static bool refuse_lost(struct error *err)
{
    return error_set(err, ERROR_UNREACHABLE, "database: the connection was lost");
}

void db_settle_notices(struct db *db, bool is_good)
{
    if (db->depth > 0 || !db->notices.count || !db->connection ||
        PQtransactionStatus(db->connection) != PQTRANS_IDLE)
        return;
    if (is_good)
        db_notifier_publish(db_pool_notifier(db->pool), &db->notices);
    else
        db_notices_clear(&db->notices);
}

bool db_check_result(struct db *db, const PGresult *result, struct error *err)
{
    return is_good(result) || statement_failed(db, result, err);
}

static bool finish(struct db *db, PGresult **result, struct error *err)
{
    PGresult *answer = NULL;
    if (!db_answer(db, &answer, err))
        return false;
    bool is_done = db_check_result(db, answer, err);
    db_settle_notices(db, is_done);
    if (is_done)
        *result = answer;
    else
        PQclear(answer);
    return is_done;
}

bool db_not_sent(struct db *db, struct error *err)
{
    char line[180];
    db_first_line(PQerrorMessage(db->connection), line, sizeof line);
    db_disconnect(db);
    return error_set(err, ERROR_UNREACHABLE, "database: cannot send a statement: %s", line);
}

bool db_prepare(struct db *db, const char *sql, const char **name, struct error *err)
{
    struct db_prepared_use use = db_prepared_find(db->prepared, sql);
    *name = use.name;
    if (!use.is_to_prepare)
        return true;
    if (!PQsendPrepare(db->connection, use.name, sql, 0, NULL))
        return db_not_sent(db, err);
    PGresult *result = NULL;
    if (!finish(db, &result, err))
        return false;
    PQclear(result);
    db_prepared_keep(db->prepared, &use);
    return true;
}

bool db_send(struct db *db, const char *name, const char *sql, int count,
             const char *const params[])
{
    return name ? PQsendQueryPrepared(db->connection, name, count, params, NULL, NULL, 0) == 1
                : PQsendQueryParams(db->connection, sql, count, NULL, params, NULL, NULL, 0) == 1;
}

struct db_rows *db_rows_new(PGresult *result)
{
    struct db_rows *made = memory_alloc(sizeof *made);
    made->result = result;
    return made;
}

const char *db_rows_command(const struct db_rows *rows)
{
    return PQcmdStatus(rows->result);
}

bool db_query(struct db *db, const char *sql, int count, const char *const params[],
              struct db_rows **rows, struct error *err)
{
    const struct db_statement one = {sql, count, params, rows};
    if (db_has_waiting(db))
        return db_query_all(db, &one, 1, err);
    if (!db->connection)
        return refuse_lost(err);
    const char *name = NULL;
    if (!db_prepare(db, sql, &name, err))
        return false;
    if (!db_send(db, name, sql, count, params))
        return db_not_sent(db, err);
    PGresult *result = NULL;
    if (!finish(db, &result, err))
        return false;
    if (rows)
        *rows = db_rows_new(result);
    else
        PQclear(result);
    return true;
}

bool db_execute(struct db *db, const char *sql, struct error *err)
{
    if (!db->connection)
        return refuse_lost(err);
    if (db_has_waiting(db) && !db_send_waiting(db, err))
        return false;
    if (!PQsendQuery(db->connection, sql))
        return db_not_sent(db, err);
    PGresult *result = NULL;
    if (!finish(db, &result, err))
        return false;
    PQclear(result);
    return true;
}

/* "WORD level_<depth>", for savepoints. */
static bool at_level(struct db *db, const char *word, int depth, struct error *err)
{
    char sql[48];
    snprintf(sql, sizeof sql, "%s level_%d", word, depth);
    return db_execute(db, sql, err);
}

bool db_begin(struct db *db, struct error *err)
{
    if (!db->connection)
        return refuse_lost(err);
    if (db->depth == 0)
        db->is_begin_due = true;
    else if (!at_level(db, "SAVEPOINT", db->depth, err))
        return false;
    db->depth++;
    return true;
}

bool db_be_patient(struct db *db, struct error *err)
{
    db->timeout_ms = DB_PATIENT_TIMEOUT_MS;
    return db_execute(db, "SET LOCAL statement_timeout = 0", err);
}

/* PostgreSQL answers COMMIT of a failed transaction with success and ROLLBACK. */
static bool commit_sent(struct db *db, struct error *err)
{
    auto_db_rows struct db_rows *rows = NULL;
    if (!db_query(db, "COMMIT", 0, NULL, &rows, err))
        return false;
    return strcmp(db_rows_command(rows), "COMMIT") == 0 ||
           error_set(err, ERROR_INTERNAL,
                     "database: a failed transaction was committed by mistake; it was rolled back");
}

static bool commit_outer(struct db *db, struct error *err)
{
    if (!db->connection)
        return refuse_lost(err);
    bool is_empty = db->is_begin_due && !db->posted.count; /* nothing was done in it */
    if (!is_empty && !commit_sent(db, err))
        return false;
    db_forget_waiting(db);
    db->timeout_ms = DB_ANSWER_TIMEOUT_MS;
    db_notifier_publish(db_pool_notifier(db->pool), &db->notices);
    return true;
}

bool db_commit(struct db *db, struct error *err)
{
    bool is_committed = db->depth > 1 ? at_level(db, "RELEASE SAVEPOINT", db->depth - 1, err)
                                      : commit_outer(db, err);
    db->depth -= is_committed && db->depth > 0;
    return is_committed;
}

void db_rollback(struct db *db)
{
    struct error ignored;
    bool is_inner = db->depth > 1;
    db->depth -= db->depth > 0;
    bool is_begun = !db->is_begin_due;
    db_forget_waiting(db); /* an inner transaction begins with what waited before sent */
    if (!is_inner) {
        db_notices_clear(&db->notices);
        db->timeout_ms = DB_ANSWER_TIMEOUT_MS;
        if (!is_begun)
            return;
    }
    bool is_done = is_inner ? at_level(db, "ROLLBACK TO SAVEPOINT", db->depth, &ignored) &&
                                  at_level(db, "RELEASE SAVEPOINT", db->depth, &ignored)
                            : db_execute(db, "ROLLBACK", &ignored);
    if (!is_done && db->connection)
        db_disconnect(db); /* closing it rolls back for certain */
}

void db_rollback_all(struct db *db)
{
    if (db->depth > 1)
        db->depth = 1;
    if (db->depth > 0)
        db_rollback(db);
}

bool db_has_changed(struct db *db, bool *has_changed, struct error *err)
{
    static const char sql[] = "SELECT pg_current_xact_id_if_assigned() IS NOT NULL AS has_changed";
    auto_db_rows struct db_rows *rows = NULL;
    if (!db_query(db, sql, 0, NULL, &rows, err))
        return false;
    *has_changed = db_value_bool(rows, 0, "has_changed");
    return true;
}

void db_notify(struct db *db, const char *channel, const char *payload)
{
    if (!db->connection)
        return; /* its transaction is lost, too */
    db_notices_add(&db->notices, channel, payload);
    if (db->depth == 0)
        db_notifier_publish(db_pool_notifier(db->pool), &db->notices);
}

struct db_text db_int(int64_t value)
{
    struct db_text text;
    snprintf(text.text, sizeof text.text, "%" PRId64, value);
    return text;
}

const char *db_bool(bool value)
{
    return value ? "t" : "f";
}

int db_count(const struct db_rows *rows)
{
    return PQntuples(rows->result);
}

int64_t db_affected(const struct db_rows *rows)
{
    return strtoll(PQcmdTuples(rows->result), NULL, 10);
}

const char *db_value(const struct db_rows *rows, int row, const char *column)
{
    int number = PQfnumber(rows->result, column);
    assert(number >= 0 && row >= 0 && row < PQntuples(rows->result));
    if (PQgetisnull(rows->result, row, number))
        return NULL;
    return PQgetvalue(rows->result, row, number);
}

int64_t db_value_int(const struct db_rows *rows, int row, const char *column)
{
    const char *value = db_value(rows, row, column);
    return value ? strtoll(value, NULL, 10) : 0;
}

double db_value_double(const struct db_rows *rows, int row, const char *column)
{
    const char *value = db_value(rows, row, column);
    return value ? strtod(value, NULL) : 0;
}

bool db_value_bool(const struct db_rows *rows, int row, const char *column)
{
    const char *value = db_value(rows, row, column);
    return value && value[0] == 't';
}

void db_rows_free(struct db_rows *rows)
{
    if (!rows)
        return;
    PQclear(rows->result);
    free(rows);
}
