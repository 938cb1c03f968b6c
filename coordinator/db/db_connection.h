/* One connection, inside coordinator/db only. */
#pragma once

#include "coordinator/db/db_notice.h"
#include "coordinator/db/db_prepared.h"

#include <libpq-fe.h>

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
/* One or more statements without parameters. */
bool db_execute(struct db *db, const char *sql, struct error *err) must_check;
/* libpq's receiver of notices: what triggers tell of changes becomes wake-ups, everything else is
 * logged. */
void db_receive_notice(void *db, const PGresult *notice);

struct db_notifier *db_pool_notifier(struct db_pool *pool);

/* The first line of libpq's message, without "FATAL:" noise lines below it. */
void db_first_line(const char *message, char *out, size_t size);
