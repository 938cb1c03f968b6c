/* Connecting to PostgreSQL and waiting for its answers, never longer than a deadline. */
#include "coordinator/db/db_connection.h"

#include "base/clock.h"

#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

void db_first_line(const char *message, char *out, size_t size)
{
    size_t length = strcspn(message, "\n");
    snprintf(out, size, "%.*s", (int)length, message);
}

static bool lost(struct db *db, struct error *err, const char *what)
{
    char line[180];
    db_first_line(PQerrorMessage(db->connection), line, sizeof line);
    db_disconnect(db);
    return error_set(err, ERROR_UNREACHABLE, "database: %s: %s", what,
                     line[0] ? line : "connection lost");
}

/* Waits until the socket is ready for `events`; false when the deadline passed. */
static bool wait_socket(PGconn *connection, short events, int64_t deadline_ms)
{
    struct pollfd poll_fd = {.fd = PQsocket(connection), .events = events};
    for (;;) {
        int64_t left = deadline_ms - clock_monotonic_ms();
        if (left <= 0)
            return false;
        if (poll(&poll_fd, 1, (int)left) > 0)
            return true;
    }
}

static bool send_all(struct db *db, int64_t deadline_ms, struct error *err)
{
    int pending;
    while ((pending = PQflush(db->connection)) == 1) {
        if (!wait_socket(db->connection, POLLIN | POLLOUT, deadline_ms))
            return lost(db, err, "no progress when sending a statement");
        if (!PQconsumeInput(db->connection))
            return lost(db, err, "connection lost");
    }
    return pending == 0 || lost(db, err, "connection lost");
}

static bool wait_input(struct db *db, int64_t deadline_ms, struct error *err)
{
    while (PQisBusy(db->connection)) {
        if (!wait_socket(db->connection, POLLIN, deadline_ms))
            return lost(db, err, "no answer in time");
        if (!PQconsumeInput(db->connection))
            return lost(db, err, "connection lost");
    }
    return true;
}

static _Atomic uint64_t statements_total;

uint64_t db_statements_total(void)
{
    return atomic_load_explicit(&statements_total, memory_order_relaxed);
}

uint64_t db_statements(const struct db *db)
{
    return db->statements;
}

bool db_answer(struct db *db, PGresult **result, struct error *err)
{
    db->statements++;
    atomic_fetch_add_explicit(&statements_total, 1, memory_order_relaxed);
    int64_t deadline_ms = clock_monotonic_ms() + db->timeout_ms;
    if (!send_all(db, deadline_ms, err))
        return false;
    PGresult *kept = NULL;
    for (;;) {
        if (!wait_input(db, deadline_ms, err)) {
            PQclear(kept);
            return false;
        }
        PGresult *next = PQgetResult(db->connection);
        if (!next)
            break;
        if (kept && PQresultStatus(kept) == PGRES_FATAL_ERROR) {
            PQclear(next);
            continue;
        }
        PQclear(kept);
        kept = next;
    }
    if (!kept)
        return lost(db, err, "no answer");
    *result = kept;
    return true;
}

bool db_take_sync(struct db *db, struct error *err)
{
    if (!wait_input(db, clock_monotonic_ms() + db->timeout_ms, err))
        return false;
    PGresult *sync = PQgetResult(db->connection);
    bool is_sync = PQresultStatus(sync) == PGRES_PIPELINE_SYNC;
    PQclear(sync);
    return (is_sync && PQexitPipelineMode(db->connection)) || lost(db, err, "no end of an answer");
}

/* Durable commits even where the server's default is weaker; everything else keeps the server's
 * choice or gets a limit. What is asked for all the time is in the server's memory, where a page
 * costs the same wherever it is: with the default of 4 small tables would be read whole for a few
 * rows. */
static const char session_sql[] =
    "SET timezone = 'UTC'; SET datestyle = 'ISO, YMD'; SET client_min_messages = warning;"
    "SET statement_timeout = 10000; SET idle_in_transaction_session_timeout = 30000;"
    "SET random_page_cost = 1.1;"
    "SET crosspool.tell_changes = 'on';"
    "SELECT set_config('synchronous_commit', 'on', false)"
    " WHERE current_setting('synchronous_commit') = 'off'";

bool db_connect(struct db *db, const char *conninfo, struct error *err)
{
    char timeout[12];
    snprintf(timeout, sizeof timeout, "%d", DB_CONNECT_TIMEOUT_S);
    /* what stands before dbname is a default that the connection string overrides */
    const char *const keys[] = {"connect_timeout",      "application_name",
                                "keepalives_idle",      "keepalives_interval",
                                "keepalives_count",     "tcp_user_timeout",
                                "target_session_attrs", "dbname",
                                "client_encoding",      NULL};
    const char *const values[] = {
        timeout, "crosspool-coordinator", "5", "2", "3", "10000", "read-write", conninfo, "UTF8",
        NULL};
    db->connection = PQconnectdbParams(keys, values, 1);
    if (!db->connection)
        return error_set(err, ERROR_INTERNAL, "database: libpq could not start a connection");
    if (PQstatus(db->connection) != CONNECTION_OK)
        return lost(db, err, "cannot connect");
    db->timeout_ms = DB_ANSWER_TIMEOUT_MS;
    db->prepared = db_prepared_new();
    PQsetNoticeReceiver(db->connection, db_receive_notice, db);
    if (PQsetnonblocking(db->connection, 1) != 0)
        return lost(db, err, "cannot connect");
    if (db_execute(db, session_sql, err))
        return true;
    db_disconnect(db);
    return false;
}

void db_disconnect(struct db *db)
{
    PQfinish(db->connection);
    db->connection = NULL;
    db_prepared_free(db->prepared);
    db->prepared = NULL;
    db->depth = 0;
    db_forget_waiting(db);
    db_notices_clear(&db->notices);
}
