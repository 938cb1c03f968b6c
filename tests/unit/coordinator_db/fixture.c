/* The pool that each test begins with; see fixture.h. */
#include "tests/unit/coordinator_db/fixture.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

struct db_pool *pool;
struct error err;

const char *conninfo(void)
{
    const char *text = getenv("CROSSPOOL_TEST_DATABASE");
    cr_assert_not_null(text, "run by tests/support/with-postgres");
    return text;
}

static void open_pool(void)
{
    cr_assert(db_pool_open(&pool, conninfo(), 2, &err), "%s", err.text);
}

static void close_pool(void)
{
    db_pool_close(pool);
}

struct db *take_one(void)
{
    struct db *db = NULL;
    cr_assert(db_take(pool, 5000, &db, &err), "%s", err.text);
    return db;
}

void must(struct db *db, const char *sql)
{
    cr_assert(db_query(db, sql, 0, NULL, NULL, &err), "%s: %s", sql, err.text);
}

/* Ends the server's side of a connection, as an administrator would. */
void terminate(struct db *other, const char *pid)
{
    cr_assert(db_query(other, "SELECT pg_terminate_backend($1)", DB_PARAMS(pid), NULL, &err), "%s",
              err.text);
}

void backend_of(struct db *db, char pid[16])
{
    auto_db_rows struct db_rows *rows = NULL;
    cr_assert(db_query(db, "SELECT pg_backend_pid() AS pid", 0, NULL, &rows, &err));
    snprintf(pid, 16, "%s", db_value(rows, 0, "pid"));
}

int count_of(struct db *db, const char *sql)
{
    auto_db_rows struct db_rows *rows = NULL;
    cr_assert(db_query(db, sql, 0, NULL, &rows, &err), "%s", err.text);
    return (int)db_value_int(rows, 0, "count");
}

void insert_in_transaction(struct db *db, const char *sql, bool is_kept)
{
    cr_assert(db_begin(db, &err));
    must(db, sql);
    if (is_kept)
        cr_assert(db_commit(db, &err), "%s", err.text);
    else
        db_rollback(db);
}

TestSuite(db, .init = open_pool, .fini = close_pool, .timeout = 60);
