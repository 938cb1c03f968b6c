/* One connection, inside coordinator/db only. */
#pragma once

#include "coordinator/db/db_array.h"
#include "coordinator/db/db_notice.h"
#include "coordinator/db/db_prepared.h"

#include <libpq-fe.h>

enum { DB_POSTED_MOST = 12, DB_POSTED_PARAMS = 16 };

/* Statements that leave with the next one. */
struct db_posted {
    int count;
    struct db_posted_statement {
        const char *sql;
        int count;
        bool is_set;                               /* of rows: each parameter is an array */
        char *params[DB_POSTED_PARAMS];            /* when it is not */
        struct db_array columns[DB_POSTED_PARAMS]; /* when it is */
    } items[DB_POSTED_MOST];
};

enum {
    DB_CONNECT_TIMEOUT_S = 3,
    DB_STATEMENT_TIMEOUT_MS = 10000,        /* the server's own limit of one statement */
    DB_ANSWER_TIMEOUT_MS = 15000,           /* ours, when the server or the network says nothing */
    DB_PATIENT_TIMEOUT_MS = 10 * 60 * 1000, /* the same where a statement may take long */
};

struct db {
    struct db_pool *pool; /* NULL outside a pool */
    PGconn *connection;   /* NULL: not connected, or lost */
    struct db_prepared *prepared;
    bool is_taken;
    int depth;                 /* transactions that are open, one in the other */
    bool is_begin_due;         /* the outermost one is, and the server does not know it yet */
    struct db_posted posted;   /* of the open transaction */
    int64_t used_at_ms;        /* monotonic, when it was given back */
    int timeout_ms;            /* longest wait for an answer */
    struct db_notices notices; /* of the open transaction, or of the statement that runs */
    uint64_t statements;       /* since it was taken */
};

/* Connects and sets the session up. On failure nothing is left open. */
bool db_connect(struct db *db, const char *conninfo, struct error *err) must_check;
void db_disconnect(struct db *db);

/* Waits for the whole answer of what was sent; the last result is the caller's to PQclear, an
 * earlier failed one wins. A connection that does not answer in time is closed. */
bool db_answer(struct db *db, PGresult **result, struct error *err) must_check;
/* The end of what travelled together, after the answers. */
bool db_take_sync(struct db *db, struct error *err) must_check;
/* One or more statements without parameters. */
bool db_execute(struct db *db, const char *sql, struct error *err) must_check;
/* Says the result of what was sent: false with its error, and the connection closed when it is
 * lost. */
bool db_check_result(struct db *db, const PGresult *result, struct error *err) must_check;
/* Nothing was sent; the connection is closed. */
bool db_not_sent(struct db *db, struct error *err);
/* The statement's name on this connection, NULL for none; prepared first if need be. */
bool db_prepare(struct db *db, const char *sql, const char **name, struct error *err) must_check;
bool db_send(struct db *db, const char *name, const char *sql, int count,
             const char *const params[]);
/* Outside of a transaction a statement is one, and its end is a commit or a rollback. */
void db_settle_notices(struct db *db, bool is_good);
struct db_rows *db_rows_new(PGresult *result);
const char *db_rows_command(const struct db_rows *rows); /* "COMMIT" */

/* db_pipeline.c: whether something waits to leave with the next statement */
bool db_has_waiting(const struct db *db);
/* It leaves now, alone. */
bool db_send_waiting(struct db *db, struct error *err) must_check;
void db_forget_waiting(struct db *db);

/* libpq's receiver of notices: what triggers tell of changes becomes wake-ups, everything else is
 * logged. */
void db_receive_notice(void *db, const PGresult *notice);

struct db_notifier *db_pool_notifier(struct db_pool *pool);

/* The first line of libpq's message, without "FATAL:" noise lines below it. */
void db_first_line(const char *message, char *out, size_t size);
