/* Statements that travel together, what is posted, and arrays of rows. */
#include "coordinator/db/db_array.h"
#include "tests/unit/coordinator_db/fixture.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static void post(struct db *db, const char *sql, const char *parameter)
{
    char text[8];
    snprintf(text, sizeof text, "%s", parameter); /* gone when it leaves */
    cr_assert(db_post(db, sql, DB_PARAMS(text), &err), "%s", err.text);
}

#define MAKE_POSTED  "CREATE TEMP TABLE posted (id serial, n int UNIQUE)"
#define POST         "INSERT INTO posted (n) VALUES ($1::int)"
#define COUNT_POSTED "SELECT count(*) AS count FROM posted"

Test(db, a_transaction_begins_with_its_first_statement)
{
    auto_db struct db *db = take_one();
    cr_assert(db_begin(db, &err) && db_commit(db, &err), "%s", err.text);
    cr_assert(db_begin(db, &err), "%s", err.text);
    db_rollback(db);
    cr_assert_eq(db_statements(db), 0);
    cr_assert(db_begin(db, &err) && db_begin(db, &err), "%s", err.text);
    must(db, "CREATE TEMP TABLE begun (n int)");
    cr_assert(db_commit(db, &err) && db_commit(db, &err), "%s", err.text);
    must(db, "SELECT FROM begun");
}

Test(db, what_is_posted_leaves_with_the_next_statement_in_order)
{
    auto_db struct db *db = take_one();
    must(db, MAKE_POSTED);
    cr_assert(db_begin(db, &err), "%s", err.text);
    post(db, POST, "7");
    post(db, POST, "5");
    cr_assert_eq(count_of(db, "SELECT n AS count FROM posted WHERE id = 2"), 5);
    for (int i = 10; i < 30; i++)
        post(db, POST, db_int(i).text);
    cr_assert(db_commit(db, &err), "%s", err.text);
    cr_assert_eq(count_of(db, COUNT_POSTED), 22);
    post(db, POST, "9");
    cr_assert_eq(count_of(db, "SELECT max(n) AS count FROM posted WHERE n < 10"), 9,
                 "outside of a transaction at once");
}

Test(db, what_is_posted_and_fails_fails_what_it_leaves_with)
{
    auto_db struct db *db = take_one();
    must(db, MAKE_POSTED);
    must(db, "INSERT INTO posted (n) VALUES (1)");
    cr_assert(db_begin(db, &err), "%s", err.text);
    post(db, POST, "2");
    post(db, POST, "1");
    cr_assert_not(db_commit(db, &err));
    cr_assert_eq(err.code, ERROR_CONFLICT, "%s", err.text);
    db_rollback(db);
    cr_assert(db_begin(db, &err), "%s", err.text);
    post(db, POST, "x");
    cr_assert_not(db_query(db, "SELECT 1", 0, NULL, NULL, &err));
    cr_assert_eq(err.code, ERROR_INVALID, "%s", err.text);
    db_rollback(db);
    cr_assert_eq(count_of(db, COUNT_POSTED), 1);
}

Test(db, what_is_posted_goes_with_its_transaction)
{
    struct db *db = take_one();
    must(db, MAKE_POSTED);
    cr_assert(db_begin(db, &err), "%s", err.text);
    post(db, POST, "1");
    cr_assert(db_begin(db, &err), "%s", err.text);
    post(db, POST, "2");
    db_rollback(db);
    cr_assert(db_begin(db, &err), "%s", err.text);
    post(db, POST, "3");
    cr_assert(db_commit(db, &err) && db_commit(db, &err), "%s", err.text);
    cr_assert_eq(count_of(db, "SELECT sum(n) AS count FROM posted"), 4);
    cr_assert(db_begin(db, &err), "%s", err.text);
    post(db, POST, "5");
    db_rollback(db);
    cr_assert(db_begin(db, &err), "%s", err.text);
    post(db, POST, "6");
    db_notify(db, "steps", "h1");
    db_give(db);
    db = take_one();
    cr_assert_eq(count_of(db, "SELECT sum(n) AS count FROM posted"), 4);
    db_give(db);
}

Test(db, statements_that_travel_together_are_one_outside_of_a_transaction)
{
    auto_db struct db *db = take_one();
    auto_db_rows struct db_rows *first = NULL;
    auto_db_rows struct db_rows *last = NULL;
    struct db_rows *none = NULL;
    must(db, MAKE_POSTED);
    const char *const one[] = {"1"};
    const struct db_statement good[] = {{"SELECT $1::int + 1 AS count", 1, one, &first},
                                        {POST, 1, one, NULL},
                                        {COUNT_POSTED, 0, NULL, &last}};
    for (int i = 0; i < 3; i++) {
        db_rows_free(first);
        db_rows_free(last);
        cr_assert(db_query_all(db, good, 3, &err), "%s", err.text);
        cr_assert_eq(db_value_int(first, 0, "count"), 2);
        cr_assert_eq(db_value_int(last, 0, "count"), 1);
        must(db, "DELETE FROM posted");
    }
    const struct db_statement bad[] = {
        {POST, 1, one, NULL}, {COUNT_POSTED, 0, NULL, &none}, {POST, 1, one, NULL}};
    cr_assert_not(db_query_all(db, bad, 3, &err));
    cr_assert_eq(err.code, ERROR_CONFLICT, "%s", err.text);
    cr_assert_null(none);
    cr_assert_eq(count_of(db, COUNT_POSTED), 0);
}

Test(db, a_connection_lost_among_statements_that_travel_together)
{
    auto_db struct db *db = take_one();
    auto_db_rows struct db_rows *rows = NULL;
    const struct db_statement statements[] = {
        {"SELECT 1", 0, NULL, &rows},
        {"SELECT pg_terminate_backend(pg_backend_pid())", 0, NULL, NULL},
        {"SELECT 2", 0, NULL, NULL}};
    cr_assert_not(db_query_all(db, statements, 3, &err));
    cr_assert_eq(err.code, ERROR_UNREACHABLE, "%s", err.text);
    cr_assert_null(rows);
    auto_db struct db *next = take_one();
    must(next, "SELECT 1");
}

/* ---- arrays, and rows that travel as one statement ---- */

Test(db, an_array_parameter_holds_any_text)
{
    static const char *const values[] = {"",   "NULL", "{a,b}", "\"quoted\" \\ and, more",
                                         NULL, "\n"};
    enum { COUNT = sizeof values / sizeof *values };
    auto_db struct db *db = take_one();
    auto_db_array struct db_array array = {0};
    cr_assert_str_eq(db_array_text(&array), "{}");
    for (int i = 0; i < COUNT; i++)
        db_array_add(&array, values[i]);
    auto_db_rows struct db_rows *rows = NULL;
    cr_assert(db_query(db, "SELECT r.value FROM unnest($1::text[]) AS r(value)",
                       DB_PARAMS(db_array_text(&array)), &rows, &err),
              "%s", err.text);
    cr_assert_eq(db_count(rows), COUNT);
    for (int i = 0; i < COUNT; i++) {
        const char *value = db_value(rows, i, "value");
        cr_assert(value == values[i] || strcmp(value, values[i]) == 0, "%d", i);
    }
    db_array_done(&array);
    cr_assert_str_eq(db_array_text(&array), "{}");
}

Test(db, an_array_grows)
{
    auto_db struct db *db = take_one();
    auto_db_array struct db_array array = {0};
    for (int i = 1; i <= 10000; i++)
        db_array_add(&array, db_int(i).text);
    auto_db_rows struct db_rows *rows = NULL;
    cr_assert(db_query(db, "SELECT sum(n) AS count FROM unnest($1::int[]) AS r(n)",
                       DB_PARAMS(db_array_text(&array)), &rows, &err),
              "%s", err.text);
    cr_assert_eq(db_value_int(rows, 0, "count"), 50005000);
}

#define MAKE_NAMED "CREATE TEMP TABLE named (n int UNIQUE, name text)"
static const char add_named[] =
    "INSERT INTO named SELECT r.n, r.name FROM unnest($1::int[], $2::text[]) AS r(n, name)";
static const char rename_named[] = "UPDATE named SET name = r.name"
                                   " FROM unnest($1::int[], $2::text[]) AS r(n, name)"
                                   " WHERE named.n = r.n";

static void post_row(struct db *db, const char *sql, int n, const char *name)
{
    char text[8];
    snprintf(text, sizeof text, "%d", n); /* gone when it leaves */
    cr_assert(db_post_row(db, sql, DB_PARAMS(text, name), &err), "%s", err.text);
}

Test(db, rows_that_are_posted_travel_as_one_statement)
{
    auto_db struct db *db = take_one();
    must(db, MAKE_NAMED);
    cr_assert(db_begin(db, &err), "%s", err.text);
    uint64_t before = db_statements(db);
    for (int i = 0; i < 100; i++) {
        post_row(db, add_named, i, i % 2 ? "odd" : NULL);
        post_row(db, rename_named, i, "it's {\"named\"}");
    }
    cr_assert_eq(db_statements(db), before);
    cr_assert_eq(count_of(db, "SELECT count(*) AS count FROM named"
                              " WHERE name = 'it''s {\"named\"}'"),
                 100);
    cr_assert_leq(db_statements(db) - before, 6, "BEGIN, both, the count, and their preparation");
    post_row(db, rename_named, 7, NULL);
    cr_assert(db_commit(db, &err), "%s", err.text);
    cr_assert_eq(count_of(db, "SELECT count(*) AS count FROM named WHERE name IS NULL"), 1);
}

Test(db, rows_run_where_the_first_of_them_was_posted)
{
    auto_db struct db *db = take_one();
    must(db, MAKE_NAMED);
    cr_assert(db_begin(db, &err), "%s", err.text);
    post_row(db, rename_named, 1, "late");
    post_row(db, add_named, 1, "first");
    post_row(db, rename_named, 1, "later");
    cr_assert_eq(count_of(db, "SELECT count(*) AS count FROM named WHERE name = 'first'"), 1);
    post_row(db, rename_named, 1, "after it was read");
    cr_assert(db_commit(db, &err), "%s", err.text);
    cr_assert_eq(count_of(db, "SELECT count(*) AS count FROM named WHERE name LIKE 'after%'"), 1);
}

Test(db, a_row_that_fails_fails_all_of_its_transaction)
{
    auto_db struct db *db = take_one();
    must(db, MAKE_NAMED);
    post_row(db, add_named, 1, "outside of a transaction at once");
    cr_assert_eq(count_of(db, "SELECT count(*) AS count FROM named"), 1);
    cr_assert(db_begin(db, &err), "%s", err.text);
    post_row(db, add_named, 2, "good");
    post_row(db, add_named, 1, "there already");
    cr_assert_not(db_commit(db, &err));
    cr_assert_eq(err.code, ERROR_CONFLICT, "%s", err.text);
    db_rollback(db);
    cr_assert(db_begin(db, &err), "%s", err.text);
    post_row(db, add_named, 3, "rolled back");
    db_rollback(db);
    cr_assert(db_begin(db, &err) && db_commit(db, &err), "%s", err.text);
    cr_assert_eq(count_of(db, "SELECT count(*) AS count FROM named"), 1);
}

Test(db, more_kinds_of_rows_than_there_is_room_for_leave_in_order)
{
    static char kinds[40][96]; /* a statement is known by its address */
    auto_db struct db *db = take_one();
    must(db, MAKE_NAMED);
    cr_assert(db_begin(db, &err), "%s", err.text);
    for (int i = 0; i < 40; i++) {
        snprintf(kinds[i], sizeof kinds[i], "%s", add_named);
        post_row(db, kinds[i], i, "it");
    }
    cr_assert(db_commit(db, &err), "%s", err.text);
    cr_assert_eq(count_of(db, "SELECT count(*) AS count FROM named"), 40);
}
