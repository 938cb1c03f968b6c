/* Pool, statements, transactions and error codes against a real PostgreSQL, which
 * $CROSSPOOL_TEST_DATABASE names. */
#include "base/clock.h"
#include "tests/unit/coordinator_db/fixture.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <stdio.h>
#include <string.h>

Test(db, reads_rows_by_name)
{
    auto_db struct db *db = take_one();
    auto_db_rows struct db_rows *rows = NULL;
    cr_assert(db_query(db,
                       "SELECT n, n * 5000000000 AS big, n = 2 AS is_two, NULL AS nothing,"
                       " 'x' || n AS word FROM generate_series(1, 2) n ORDER BY n",
                       0, NULL, &rows, &err),
              "%s", err.text);
    cr_assert_eq(db_count(rows), 2);
    cr_assert_str_eq(db_value(rows, 1, "word"), "x2");
    cr_assert_eq(db_value_int(rows, 1, "big"), INT64_C(10000000000));
    cr_assert(!db_value_bool(rows, 0, "is_two"));
    cr_assert(db_value_bool(rows, 1, "is_two"));
    cr_assert_null(db_value(rows, 0, "nothing"));
    cr_assert_eq(db_value_int(rows, 0, "nothing"), 0);
    cr_assert(!db_value_bool(rows, 0, "nothing"));
}

Test(db, binds_parameters_as_values)
{
    auto_db struct db *db = take_one();
    auto_db_rows struct db_rows *rows = NULL;
    const char *quoted = "'; DROP TABLE x; --";
    cr_assert(db_query(db,
                       "SELECT $1::text AS a, $2::bigint AS b, $3::boolean AS c, $4::text IS NULL"
                       " AS d",
                       DB_PARAMS(quoted, db_int(INT64_MIN).text, db_bool(true), NULL), &rows, &err),
              "%s", err.text);
    cr_assert_str_eq(db_value(rows, 0, "a"), quoted);
    cr_assert_eq(db_value_int(rows, 0, "b"), INT64_MIN);
    cr_assert(db_value_bool(rows, 0, "c"));
    cr_assert(db_value_bool(rows, 0, "d"));
}

Test(db, counts_what_a_statement_changed)
{
    auto_db struct db *db = take_one();
    auto_db_rows struct db_rows *rows = NULL;
    must(db, "CREATE TEMP TABLE changed (n int)");
    cr_assert(
        db_query(db, "INSERT INTO changed SELECT generate_series(1, 3)", 0, NULL, &rows, &err));
    cr_assert_eq(db_affected(rows), 3);
    cr_assert_eq(db_count(rows), 0);
}

/* How many statements that begin so the connection has prepared. */
static int64_t count_prepared(struct db *db, const char *begin)
{
    auto_db_rows struct db_rows *rows = NULL;
    cr_assert(db_query(db,
                       "SELECT count(*) AS n FROM pg_prepared_statements"
                       " WHERE starts_with(statement, $1)",
                       DB_PARAMS(begin), &rows, &err),
              "%s", err.text);
    return db_value_int(rows, 0, "n");
}

static int64_t read_number(struct db *db, const char *sql, int number)
{
    auto_db_rows struct db_rows *rows = NULL;
    cr_assert(db_query(db, sql, DB_PARAMS(db_int(number).text), &rows, &err), "%s", err.text);
    return db_value_int(rows, 0, "n");
}

Test(db, prepares_what_is_used_twice)
{
    auto_db struct db *db = take_one();
    const char *sql = "SELECT $1::integer AS n";
    cr_assert_eq(read_number(db, sql, 1), 1);
    cr_assert_eq(count_prepared(db, sql), 0);
    for (int i = 2; i <= 8; i++)
        cr_assert_eq(read_number(db, sql, i), i);
    cr_assert_eq(count_prepared(db, sql), 1);
}

Test(db, prepares_no_more_than_its_table_holds)
{
    auto_db struct db *db = take_one();
    char sql[64];
    for (int i = 0; i < 2 * 2048; i++) {
        snprintf(sql, sizeof sql, "SELECT $1::integer + %d AS n", i / 2);
        cr_assert_eq(read_number(db, sql, 1), 1 + i / 2);
    }
    int64_t count = count_prepared(db, "SELECT $1::integer +");
    cr_assert(count > 1000 && count < 2048, "%d", (int)count);
}

Test(db, prepares_again_after_a_failed_transaction)
{
    auto_db struct db *db = take_one();
    const char *sql = "SELECT $1::integer * 2 AS n";
    cr_assert_eq(read_number(db, sql, 1), 2);
    cr_assert(db_begin(db, &err), "%s", err.text);
    cr_assert_not(db_query(db, "SELECT 1/0", 0, NULL, NULL, &err));
    cr_assert_not(db_query(db, sql, DB_PARAMS("1"), NULL, &err));
    db_rollback(db);
    cr_assert_eq(count_prepared(db, sql), 0);
    cr_assert_eq(read_number(db, sql, 4), 8);
    cr_assert_eq(count_prepared(db, sql), 1);
}

static const struct {
    const char *change, *state;
} spoilers[] = {
    {"ALTER TABLE spoiled ADD b integer", "0A000"}, /* as a migration of the schema may */
    {"DEALLOCATE ALL", "26000"},                    /* as a proxy between may */
};

Test(db, a_prepared_statement_that_is_spoiled_costs_one_connection)
{
    const char *sql = "SELECT * FROM spoiled";
    for (size_t i = 0; i < sizeof spoilers / sizeof *spoilers; i++) {
        auto_db struct db *db = take_one();
        must(db, "CREATE TABLE IF NOT EXISTS spoiled (a integer)");
        must(db, sql);
        must(db, sql);
        must(db, spoilers[i].change);
        cr_assert_not(db_query(db, sql, 0, NULL, NULL, &err));
        cr_assert_eq(err.code, ERROR_UNREACHABLE, "%s", err.text);
        cr_assert(strstr(err.text, spoilers[i].state), "%s", err.text);
        auto_db struct db *next = take_one();
        must(next, sql);
        must(next, "DROP TABLE spoiled");
    }
}

static const struct {
    const char *sql;
    enum error_code code;
    const char *text;
} failures[] = {
    {"INSERT INTO parent VALUES (1, 1)", ERROR_CONFLICT, "23505"},
    {"INSERT INTO child VALUES (7)", ERROR_INVALID, "23503"},
    {"INSERT INTO parent VALUES (2, -1)", ERROR_INVALID, "23514"},
    {"INSERT INTO parent VALUES (NULL, 1)", ERROR_INVALID, "23502"},
    {"SELECT 'x'::uuid", ERROR_INVALID, "22P02"},
    {"SELECT 1/0", ERROR_INVALID, "22012"},
    {"SELEKT", ERROR_INTERNAL, "42601"},
    {"SELECT * FROM nowhere", ERROR_INTERNAL, "42P01"},
    {"DO $$BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '40001'; END$$", ERROR_TIMEOUT, "40001"},
    {"DO $$BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '40P01'; END$$", ERROR_TIMEOUT, "40P01"},
    {"DO $$BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '55P03'; END$$", ERROR_TIMEOUT, "55P03"},
    {"DO $$BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '53100'; END$$", ERROR_NO_SPACE, "53100"},
    {"DO $$BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '57P01'; END$$", ERROR_UNREACHABLE, "57P01"},
    {"DO $$BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '25006'; END$$", ERROR_UNREACHABLE, "25006"},
};

Test(db, maps_a_failure_by_its_sqlstate)
{
    for (size_t i = 0; i < sizeof failures / sizeof *failures; i++) {
        auto_db struct db *db = take_one();
        must(db, "CREATE TEMP TABLE IF NOT EXISTS parent (id int PRIMARY KEY, n int NOT NULL"
                 " CHECK (n > 0))");
        must(db, "CREATE TEMP TABLE IF NOT EXISTS child (id int REFERENCES parent)");
        must(db, "INSERT INTO parent VALUES (1, 1) ON CONFLICT DO NOTHING");
        cr_assert(!db_query(db, failures[i].sql, 0, NULL, NULL, &err), "%s", failures[i].sql);
        cr_assert_eq(err.code, failures[i].code, "%s: %s", failures[i].sql, err.text);
        cr_assert(strstr(err.text, failures[i].text), "%s: %s", failures[i].sql, err.text);
    }
}

Test(db, stops_a_statement_that_takes_too_long)
{
    auto_db struct db *db = take_one();
    must(db, "SET statement_timeout = 50");
    cr_assert(!db_query(db, "SELECT pg_sleep(10)", 0, NULL, NULL, &err));
    cr_assert_eq(err.code, ERROR_TIMEOUT);
    must(db, "SELECT 1");
}

Test(db, commits_and_rolls_back)
{
    struct db *db = take_one();
    must(db, "CREATE TEMP TABLE kept (n int)");
    cr_assert(db_begin(db, &err));
    must(db, "INSERT INTO kept VALUES (1)");
    cr_assert(db_commit(db, &err));
    cr_assert(db_begin(db, &err));
    must(db, "INSERT INTO kept VALUES (2)");
    db_rollback(db);
    auto_db_rows struct db_rows *rows = NULL;
    cr_assert(db_query(db, "SELECT n FROM kept", 0, NULL, &rows, &err));
    cr_assert_eq(db_count(rows), 1);
    cr_assert_eq(db_value_int(rows, 0, "n"), 1);
    db_give(db);
}

/* n of the rows that stay. */
static int64_t kept(struct db *db)
{
    auto_db_rows struct db_rows *rows = NULL;
    cr_assert(db_query(db, "SELECT coalesce(sum(n), 0) AS n FROM kept", 0, NULL, &rows, &err), "%s",
              err.text);
    return db_value_int(rows, 0, "n");
}

Test(db, an_inner_transaction_ends_alone_and_counts_with_the_outer_one)
{
    auto_db struct db *db = take_one();
    must(db, "CREATE TEMP TABLE kept (n int)");
    cr_assert(db_begin(db, &err));
    must(db, "INSERT INTO kept VALUES (1)");
    cr_assert(db_begin(db, &err));
    must(db, "INSERT INTO kept VALUES (10)");
    cr_assert(!db_query(db, "SELECT 1/0", 0, NULL, NULL, &err));
    cr_assert(!db_commit(db, &err));
    db_rollback(db);
    cr_assert(db_begin(db, &err));
    must(db, "INSERT INTO kept VALUES (100)");
    cr_assert(db_commit(db, &err), "%s", err.text);
    cr_assert_eq(kept(db), 101);
    cr_assert(db_commit(db, &err), "%s", err.text);
    cr_assert_eq(kept(db), 101);
    cr_assert(db_begin(db, &err));
    cr_assert(db_begin(db, &err));
    must(db, "DELETE FROM kept");
    cr_assert(db_commit(db, &err));
    db_rollback(db);
    cr_assert_eq(kept(db), 101);
}

Test(db, a_transaction_knows_whether_it_changed_anything)
{
    auto_db struct db *db = take_one();
    must(db, "CREATE TEMP TABLE kept (n int)");
    bool has_changed = true;
    cr_assert(db_begin(db, &err));
    cr_assert_eq(kept(db), 0);
    cr_assert(db_has_changed(db, &has_changed, &err));
    cr_assert_not(has_changed);
    must(db, "INSERT INTO kept VALUES (1)");
    cr_assert(db_has_changed(db, &has_changed, &err));
    cr_assert(has_changed);
    db_rollback(db);
}

Test(db, a_connection_given_back_has_no_transaction)
{
    struct db *db = take_one();
    cr_assert(db_begin(db, &err));
    must(db, "CREATE TABLE half_made (n int)");
    db_give(db);
    auto_db struct db *again = take_one();
    auto_db_rows struct db_rows *rows = NULL;
    cr_assert(db_query(again, "SELECT to_regclass('half_made') IS NULL AS is_gone", 0, NULL, &rows,
                       &err));
    cr_assert(db_value_bool(rows, 0, "is_gone"));
}

Test(db, the_commit_of_a_failed_transaction_fails)
{
    auto_db struct db *db = take_one();
    cr_assert(db_begin(db, &err));
    cr_assert(!db_query(db, "SELECT 1/0", 0, NULL, NULL, &err));
    cr_assert(!db_commit(db, &err));
    cr_assert(strstr(err.text, "rolled back"), "%s", err.text);
}

Test(db, a_lost_connection_stays_lost_until_it_is_given_back)
{
    struct db *db = take_one();
    char pid[16];
    backend_of(db, pid);
    cr_assert(db_begin(db, &err));
    struct db *other = take_one();
    terminate(other, pid);
    db_give(other);
    for (int i = 0; i < 2; i++) { /* no silent reconnect in the middle of a transaction */
        cr_assert(!db_query(db, "SELECT 1", 0, NULL, NULL, &err));
        cr_assert_eq(err.code, ERROR_UNREACHABLE, "%s", err.text);
    }
    cr_assert(!db_commit(db, &err));
    cr_assert_eq(err.code, ERROR_UNREACHABLE);
    db_give(db);
    auto_db struct db *again = take_one();
    must(again, "SELECT 1");
}

Test(db, a_connection_that_was_closed_while_idle_is_replaced)
{
    struct db *db = take_one();
    char pid[16];
    backend_of(db, pid);
    struct db *other = take_one();
    db_give(db);
    terminate(other, pid);
    db_give(other);
    clock_sleep_ms(700);
    struct db *first = take_one();
    auto_db struct db *second = take_one();
    must(first, "SELECT 1");
    must(second, "SELECT 1");
    db_give(first);
}

Test(db, waits_for_a_free_connection_only_so_long)
{
    struct db *first = take_one(), *second = take_one(), *third = NULL;
    int64_t begin = clock_monotonic_ms();
    cr_assert(!db_take(pool, 200, &third, &err));
    cr_assert_eq(err.code, ERROR_UNREACHABLE);
    cr_assert(clock_monotonic_ms() - begin >= 200);
    cr_assert_null(third);
    db_give(second);
    third = take_one();
    db_give(third);
    db_give(first);
}

Test(db, a_pool_without_a_server_does_not_open)
{
    struct db_pool *none = NULL;
    cr_assert(!db_pool_open(&none, "host=/nonexistent dbname=x", 1, &err));
    cr_assert_eq(err.code, ERROR_UNREACHABLE);
    cr_assert_null(none);
    cr_assert_null(strchr(err.text, '\n'), "one line: %s", err.text);
}

Test(db, an_outer_transaction_holds_all_that_is_done_in_it)
{
    static const char count_sql[] = "SELECT count(*) AS count FROM outer_test";
    auto_db struct db *db = take_one();
    must(db, "CREATE TEMP TABLE outer_test (n int PRIMARY KEY)");
    cr_assert(db_begin(db, &err) && db_begin(db, &err));
    insert_in_transaction(db, "INSERT INTO outer_test VALUES (1)", true);
    insert_in_transaction(db, "INSERT INTO outer_test VALUES (2)", false);
    cr_assert_eq(count_of(db, count_sql), 1);
    cr_assert(db_commit(db, &err) && db_commit(db, &err), "%s", err.text);
    cr_assert_eq(count_of(db, count_sql), 1);
    cr_assert(db_begin(db, &err) && db_begin(db, &err));
    insert_in_transaction(db, "INSERT INTO outer_test VALUES (3)", true);
    cr_assert(!db_query(db, "INSERT INTO outer_test VALUES (1)", 0, NULL, NULL, &err));
    cr_assert_eq(err.code, ERROR_CONFLICT);
    db_rollback(db);
    insert_in_transaction(db, "INSERT INTO outer_test VALUES (4)", true);
    cr_assert_eq(count_of(db, count_sql), 2);
    db_rollback_all(db);
    cr_assert_eq(count_of(db, count_sql), 1);
    insert_in_transaction(db, "INSERT INTO outer_test VALUES (5)", true);
    db_rollback_all(db); /* there is none */
    cr_assert_eq(count_of(db, count_sql), 2);
}

Test(db, a_connection_given_back_leaves_its_outer_transaction)
{
    struct db *db = take_one();
    must(db, "CREATE TEMP TABLE left_test (n int)");
    cr_assert(db_begin(db, &err));
    must(db, "INSERT INTO left_test VALUES (1)");
    db_give(db);
    db = take_one();
    cr_assert_eq(count_of(db, "SELECT count(*) AS count FROM left_test"), 0);
    insert_in_transaction(db, "INSERT INTO left_test VALUES (1)", true);
    cr_assert_eq(count_of(db, "SELECT count(*) AS count FROM left_test"), 1);
    db_give(db);
}

Test(db, statements_are_counted)
{
    struct db *db = take_one();
    uint64_t total = db_statements_total();
    must(db, "SELECT 1");
    insert_in_transaction(db, "SELECT 2", true);
    cr_assert_eq(db_statements(db), 4);
    cr_assert_eq(db_statements_total() - total, 4);
    db_give(db);
}
