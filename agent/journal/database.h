/* The journal's SQLite connection: transactions under one lock, statements with bound parameters.
 * Only the files of this folder include it. */
#pragma once

#include "agent/journal/journal.h"

#include <pthread.h>
#include <sqlite3.h>

struct journal {
    sqlite3 *db;
    pthread_mutex_t mutex; /* held from database_begin to database_end */
    char *path;
};

static inline void database_finalize(sqlite3_stmt **statement)
{
    sqlite3_finalize(*statement);
}
#define auto_statement __attribute__((cleanup(database_finalize)))

/* Opens or creates the file and brings its schema to this program's version. */
bool database_open(struct journal *journal, struct error *err) must_check;

/* A transaction. Begin locks also on failure, so that each begin has exactly one end:
 *     bool ok = database_begin(j, err) && ...;
 *     return database_end(j, ok, err);
 * End commits when `ok` and rolls back otherwise. */
bool database_begin(struct journal *journal, struct error *err) must_check;
bool database_end(struct journal *journal, bool ok, struct error *err) must_check;

/* Prepares and binds; one letter of `types` per parameter: t = const char *, i = int64_t. */
bool database_query(struct journal *journal, sqlite3_stmt **statement, struct error *err,
                    const char *sql, const char *types, ...) must_check;
/* The next row of a query. */
bool database_row(struct journal *journal, sqlite3_stmt *statement, bool *has_row,
                  struct error *err) must_check;
/* A statement without rows; *changed (may be NULL) is the number of rows it changed. */
bool database_run(struct journal *journal, int *changed, struct error *err, const char *sql,
                  const char *types, ...) must_check;

/* Text of a column, never NULL; valid until the next row. */
const char *database_text(sqlite3_stmt *statement, int column);
/* Copies a column into a fixed array; longer text is cut (it was written from such an array). */
void database_copy(sqlite3_stmt *statement, int column, char *out, size_t size);

/* The next value of a named number, inside the caller's transaction. */
bool database_next_number(struct journal *journal, const char *name, int64_t *value,
                          struct error *err) must_check;
