/* PostgreSQL: a small pool of connections and queries with bound parameters. libpq is included in
 * this folder only. Rows are read by column name. A connection that broke is replaced on the next
 * use; the caller gets ERROR_UNREACHABLE and may try the whole transaction again. */
#pragma once

#include "base/error.h"
#include "base/uuid.h"

#include <stdint.h>

struct db_pool;
struct db; /* one connection, checked out, used by one thread */
struct db_rows;

bool db_pool_open(struct db_pool **out, const char *conninfo, int connections,
                  struct error *err) must_check;
void db_pool_close(struct db_pool *pool);
/* Waits at most timeout_ms for a free connection; connects when needed. */
bool db_take(struct db_pool *pool, int timeout_ms, struct db **out, struct error *err) must_check;
/* Gives it back; an open transaction is rolled back. NULL is fine. */
void db_give(struct db *db);

/* Inside a transaction db_begin opens an inner one: it can be rolled back alone, is committed with
 * the outer one only, and ends by itself with the outer one. What db_begin began ends with
 * db_commit, or with db_rollback when anything failed, the commit included. The outermost one
 * begins with its first statement, which it travels with. */
bool db_begin(struct db *db, struct error *err) must_check;
bool db_commit(struct db *db, struct error *err) must_check;
void db_rollback(struct db *db);
/* The outermost one, with all in it. Nothing happens when there is none. */
void db_rollback_all(struct db *db);
/* Inside a transaction that serves no request: its statements may take 10 minutes each. */
bool db_be_patient(struct db *db, struct error *err) must_check;
/* Has this transaction (with the inner ones that were rolled back) written or locked a row? */
bool db_has_changed(struct db *db, bool *has_changed, struct error *err) must_check;

/* Wakes whoever waits for `channel`, once the outermost transaction has committed (outside of one:
 * at once): in this process by the function of db_pool_notify_start, then in all others by NOTIFY,
 * many wake-ups in one. Only that: a crash may lose it, and whoever is woken looks for himself; an
 * inner transaction that was rolled back may wake for nothing. A pool without db_pool_notify_start
 * wakes nobody. */
enum { DB_CHANNEL_SIZE = 32, DB_PAYLOAD_SIZE = 64 };
void db_notify(struct db *db, const char *channel, const char *payload);
/* On this channel the triggers of the schema wake by themselves, with the topics of what a
 * transaction has changed ("migration <id>"); "" when it was too much to name. */
#define DB_CHANNEL_CHANGED "resource_changed"

/* Statements since db_take, and of the whole process since its start. */
uint64_t db_statements(const struct db *db);
uint64_t db_statements_total(void);

/* A parameter is text in PostgreSQL's own syntax, or NULL. Build the array with these. */
struct db_text {
    char text[32];
};
struct db_text db_int(int64_t value);
const char *db_bool(bool value);

/* Runs one statement with $1..$n. `rows` may be NULL. A unique violation is ERROR_CONFLICT, a
 * foreign key or check violation ERROR_INVALID, lost connection ERROR_UNREACHABLE, a serialization
 * failure or deadlock ERROR_TIMEOUT. */
bool db_query(struct db *db, const char *sql, int count, const char *const params[],
              struct db_rows **rows, struct error *err) must_check;
#define DB_PARAMS(...)                                                                             \
    (int)(sizeof((const char *[]){__VA_ARGS__}) / sizeof(const char *)), (const char *[])          \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }
/* Runs it with the next statement of this transaction, the commit at the latest, whose failure its
 * own is then; the parameters are copied, `sql` must stay. For what nothing is asked of but that it
 * is done. Outside of a transaction at once. */
bool db_post(struct db *db, const char *sql, int count, const char *const params[],
             struct error *err) must_check;
/* As db_post, of a statement over a set of rows, each parameter an array:
 * "... FROM unnest((SELECT $1::uuid[]), (SELECT $2::text[])) AS r(id, name)", where the SELECT
 * hides from the planner how many there are, so that one plan serves all. Rows that are posted with
 * the same `sql` (its address) before it leaves travel as one statement, which runs where the first
 * of them was posted: so no two may concern the same row, and nothing that is posted between two of
 * them may touch what the second one does. */
bool db_post_row(struct db *db, const char *sql, int count, const char *const params[],
                 struct error *err) must_check;
/* Several statements of which none needs the answer of another, in one journey and, outside of a
 * transaction, as one. *rows is set for all or for none. */
struct db_statement {
    const char *sql;
    int count;
    const char *const *params;
    struct db_rows **rows; /* NULL: not asked for */
};
bool db_query_all(struct db *db, const struct db_statement statements[], int count,
                  struct error *err) must_check;
int db_count(const struct db_rows *rows);        /* rows returned */
int64_t db_affected(const struct db_rows *rows); /* rows changed */
/* By column name (an unknown name is a programmer's error: assert). NULL for SQL NULL; borrowed. */
const char *db_value(const struct db_rows *rows, int row, const char *column);
int64_t db_value_int(const struct db_rows *rows, int row, const char *column);   /* 0 for NULL */
double db_value_double(const struct db_rows *rows, int row, const char *column); /* 0 for NULL */
bool db_value_bool(const struct db_rows *rows, int row, const char *column);
void db_rows_free(struct db_rows *rows);
static inline void cleanup_db_rows(struct db_rows **rows)
{
    db_rows_free(*rows);
}
static inline void cleanup_db(struct db **db)
{
    db_give(*db);
}
#define auto_db_rows __attribute__((cleanup(cleanup_db_rows)))
#define auto_db      __attribute__((cleanup(cleanup_db)))

/* Applies db/migrations/NNNN_name.sql in order under an advisory lock; a database that is newer
 * than the files is ERROR_REFUSED. */
bool db_migrate(struct db *db, const char *directory, int *applied, struct error *err) must_check;

/* The version the database has now; 0 before the first migration. */
bool db_schema_version(struct db *db, int *version, struct error *err) must_check;

typedef void db_on_wake(void *context, const char *channel, const char *payload);
/* From now on what is committed through this pool wakes; `on_wake` must not block. */
bool db_pool_notify_start(struct db_pool *pool, db_on_wake *on_wake, void *context,
                          struct error *err) must_check;
/* `on_wake` is not called any more; no connection of the pool may be in use. */
void db_pool_notify_stop(struct db_pool *pool);

/* For metrics. */
struct db_pool_stats {
    int places, connected, taken;
    uint64_t notices, notify_statements; /* wake-ups sent, and in how many statements */
};
void db_pool_stats(struct db_pool *pool, struct db_pool_stats *stats);

/* LISTEN on a connection of its own, on a thread of its own; `on_wake` gets channel and payload.
 * Reconnects by itself, then calls on_wake(channel, "") because something may have been missed.
 * With `on_heard` (may be NULL) nothing is missed on DB_CHANNEL_CHANGED: about each half second it
 * reads what has been changed, tells on_wake, then on_heard gets a moment of the monotonic clock:
 * every change that was committed before it has been told by now. 0: the connection is lost. */
struct db_listener;
typedef void db_on_heard(void *context, int64_t until_ms);
struct db_listening {
    const char *const *channels; /* NULL-terminated */
    db_on_wake *on_wake;
    db_on_heard *on_heard;
    void *context;
    struct db_pool *own; /* what it sent by db_notify is not heard: it has woken already; or NULL */
};
bool db_listener_open(struct db_listener **out, const char *conninfo,
                      const struct db_listening *listening, struct error *err) must_check;
struct db_listener_stats {
    bool is_listening;
    uint64_t losses; /* of the connection */
};
void db_listener_stats(struct db_listener *listener, struct db_listener_stats *stats);
/* Notifications of each channel since it was opened. */
typedef void db_heard_visit(void *context, const char *channel, uint64_t count);
void db_listener_each_channel(struct db_listener *listener, db_heard_visit *visit, void *context);
/* It hears no more; its figures can still be asked for. NULL is fine. */
void db_listener_stop(struct db_listener *listener);
/* Stops it if need be. NULL is fine. */
void db_listener_close(struct db_listener *listener);
