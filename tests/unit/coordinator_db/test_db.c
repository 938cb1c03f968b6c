/* Pool, statements, error codes and the listener against a real PostgreSQL, which
 * $CROSSPOOL_TEST_DATABASE names. */
#include "base/clock.h"
#include "coordinator/db/db.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct db_pool *pool;
static struct error err;

static const char *conninfo(void)
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

static struct db *take_one(void)
{
    struct db *db = NULL;
    cr_assert(db_take(pool, 5000, &db, &err), "%s", err.text);
    return db;
}

static void must(struct db *db, const char *sql)
{
    cr_assert(db_query(db, sql, 0, NULL, NULL, &err), "%s: %s", sql, err.text);
}

/* Ends the server's side of a connection, as an administrator would. */
static void terminate(struct db *other, const char *pid)
{
    cr_assert(db_query(other, "SELECT pg_terminate_backend($1)", DB_PARAMS(pid), NULL, &err), "%s",
              err.text);
}

static void backend_of(struct db *db, char pid[16])
{
    auto_db_rows struct db_rows *rows = NULL;
    cr_assert(db_query(db, "SELECT pg_backend_pid() AS pid", 0, NULL, &rows, &err));
    snprintf(pid, 16, "%s", db_value(rows, 0, "pid"));
}

TestSuite(db, .init = open_pool, .fini = close_pool, .timeout = 60);

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

/* What the listener said, counted by channel and payload. */
struct heard {
    _Atomic int named, lost;
};

static void on_wake(void *context, const char *channel, const char *payload)
{
    struct heard *heard = context;
    cr_assert_str_eq(channel, "Odd channel");
    if (strcmp(payload, "h1") == 0)
        heard->named++;
    else if (!payload[0])
        heard->lost++;
}

static void wait_count(_Atomic int *count, int wanted)
{
    for (int i = 0; i < 500 && atomic_load(count) < wanted; i++)
        clock_sleep_ms(10);
    cr_assert_eq(atomic_load(count), wanted);
}

/* Tests run side by side on one server. The connection whose test alone has a listener: it ends the
 * one that it finds. */
static struct db *take_with_the_only_listener(void)
{
    struct db *db = take_one();
    bool has_lock = false;
    for (int i = 0; i < 2000 && !has_lock; i++) {
        auto_db_rows struct db_rows *rows = NULL;
        cr_assert(db_query(db, "SELECT pg_try_advisory_lock(1)::int AS got", 0, NULL, &rows, &err),
                  "%s", err.text);
        has_lock = db_value_int(rows, 0, "got") == 1;
        if (!has_lock)
            clock_sleep_ms(10);
    }
    cr_assert(has_lock);
    return db;
}

/* After the listener: whoever gets the lock then finds none. */
static void give_with_lock(struct db *db)
{
    must(db, "SELECT pg_advisory_unlock(1)");
    db_give(db);
}

static void end_listener(struct db *db)
{
    must(db, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
             "WHERE application_name LIKE '%listener'");
}

Test(db, the_listener_hears_and_says_when_it_may_have_missed_something)
{
    static const char *const channels[] = {"Odd channel", NULL};
    struct heard heard = {0};
    struct db_listener *listener = NULL;
    const struct db_listening listening = {
        .channels = channels, .on_wake = on_wake, .context = &heard};
    struct db *db = take_with_the_only_listener();
    cr_assert(db_listener_open(&listener, conninfo(), &listening, &err), "%s", err.text);
    must(db, "SELECT pg_notify('Odd channel', 'h1')");
    wait_count(&heard.named, 1);
    cr_assert_eq(atomic_load(&heard.lost), 0);
    end_listener(db);
    wait_count(&heard.lost, 1);
    must(db, "SELECT pg_notify('Odd channel', 'h1')");
    wait_count(&heard.named, 2);
    db_listener_close(listener);
    give_with_lock(db);
}

static _Atomic int64_t heard_until_ms;
static _Atomic int topics_told, everything_told;

static void on_heard(void *context, int64_t until_ms)
{
    (void)context;
    heard_until_ms = until_ms;
}

static void on_topic(void *context, const char *channel, const char *payload)
{
    (void)context;
    topics_told += strcmp(channel, DB_CHANNEL_CHANGED) == 0 && strncmp(payload, "topic ", 6) == 0;
    everything_told += strcmp(channel, DB_CHANNEL_CHANGED) == 0 && !payload[0];
}

static void wait_heard(int64_t until_ms)
{
    for (int i = 0; i < 500 && heard_until_ms < until_ms; i++)
        clock_sleep_ms(10);
    cr_assert_geq(heard_until_ms, until_ms);
    cr_assert_leq(heard_until_ms, clock_monotonic_ms());
}

/* As db/migrations makes it. */
static void make_changes(struct db *db)
{
    must(db, "CREATE UNLOGGED TABLE IF NOT EXISTS change ("
             " transaction xid8 NOT NULL DEFAULT pg_current_xact_id(), topic text NOT NULL,"
             " PRIMARY KEY (transaction, topic))");
}

static const struct db_listening to_changes = {
    .channels = (const char *const[]){"quiet", NULL}, .on_wake = on_topic, .on_heard = on_heard};

Test(db, the_listener_says_up_to_when_it_has_heard_everything)
{
    struct db_listener *listener = NULL;
    struct db *db = take_with_the_only_listener();
    make_changes(db);
    cr_assert(db_listener_open(&listener, conninfo(), &to_changes, &err), "%s", err.text);
    wait_heard(clock_monotonic_ms() + 1000);
    end_listener(db);
    int64_t lost_ms = clock_monotonic_ms();
    wait_heard(lost_ms); /* it hears again */
    db_listener_close(listener);
    give_with_lock(db);
}

static void change(struct db *db, int from, int to)
{
    struct db_text first = db_int(from), last = db_int(to);
    cr_assert(db_query(db,
                       "INSERT INTO change (topic) SELECT 'topic ' || n FROM generate_series($1"
                       "::int, $2::int) n",
                       DB_PARAMS(first.text, last.text), NULL, &err),
              "%s", err.text);
}

/* Also what was begun long before and is committed after others that came later. */
Test(db, the_listener_reads_each_change_once_in_whatever_order_they_commit)
{
    struct db_listener *listener = NULL;
    struct db *slow = take_with_the_only_listener();
    auto_db struct db *quick = take_one();
    make_changes(slow);
    change(quick, 1, 9); /* before it listens */
    cr_assert(db_listener_open(&listener, conninfo(), &to_changes, &err), "%s", err.text);
    cr_assert(db_begin(slow, &err), "%s", err.text);
    change(slow, 10, 11);
    change(quick, 12, 12);
    wait_heard(clock_monotonic_ms());
    cr_assert_eq(topics_told, 1);
    change(quick, 13, 14);
    wait_heard(clock_monotonic_ms());
    cr_assert_eq(topics_told, 3);
    cr_assert(db_commit(slow, &err), "%s", err.text);
    wait_heard(clock_monotonic_ms());
    cr_assert_eq(topics_told, 5);
    wait_heard(clock_monotonic_ms() + 600);
    cr_assert_eq(topics_told, 5);
    cr_assert_eq(everything_told, 0);
    change(quick, 1000, 2500);
    wait_heard(clock_monotonic_ms());
    cr_assert_eq(topics_told, 5);
    cr_assert_eq(everything_told, 1, "too many to name");
    must(slow, "DROP TABLE change");
    db_listener_close(listener);
    give_with_lock(slow);
}

static int count_of(struct db *db, const char *sql)
{
    auto_db_rows struct db_rows *rows = NULL;
    cr_assert(db_query(db, sql, 0, NULL, &rows, &err), "%s", err.text);
    return (int)db_value_int(rows, 0, "count");
}

static void insert_in_transaction(struct db *db, const char *sql, bool is_kept)
{
    cr_assert(db_begin(db, &err));
    must(db, sql);
    if (is_kept)
        cr_assert(db_commit(db, &err), "%s", err.text);
    else
        db_rollback(db);
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

/* ---- statements that travel together ---- */

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

/* As the functions of the schema do it. */
#define TELL(state, text) "DO $$BEGIN RAISE INFO '%', " text " USING ERRCODE = '" state "'; END$$"

struct told {
    int count;
    char channel[DB_CHANNEL_SIZE], last[DB_PAYLOAD_SIZE];
};

static void note_told(void *context, const char *channel, const char *payload)
{
    struct told *told = context;
    told->count++;
    snprintf(told->channel, sizeof told->channel, "%s", channel);
    snprintf(told->last, sizeof told->last, "%s", payload);
}

Test(db, a_writer_is_told_what_it_changed_once_it_is_committed)
{
    struct told told = {0};
    cr_assert(db_pool_notify_start(pool, note_told, &told, &err), "%s", err.text);
    auto_db struct db *db = take_one();
    must(db, TELL("CPCHG", "'a 1'"));
    cr_assert_eq(told.count, 1);
    cr_assert_str_eq(told.channel, DB_CHANNEL_CHANGED);
    cr_assert_str_eq(told.last, "a 1");
    must(db, "DO $$BEGIN RAISE WARNING 'something else'; END$$");
    cr_assert_eq(told.count, 1);
    cr_assert(db_begin(db, &err), "%s", err.text);
    must(db, TELL("CPCHG", "'a 2'"));
    must(db, TELL("CPCHG", "'a 2'"));
    must(db, TELL("CPEVT", "'added'"));
    cr_assert_eq(told.count, 1, "not before the commit");
    cr_assert(db_commit(db, &err), "%s", err.text);
    cr_assert_eq(told.count, 3);
    cr_assert_str_eq(told.channel, "event");
    must(db, TELL("CPCHG", "repeat('x', 100)"));
    cr_assert_str_eq(told.last, "", "too long to name");
}

Test(db, what_is_rolled_back_tells_nothing)
{
    struct told told = {0};
    cr_assert(db_pool_notify_start(pool, note_told, &told, &err), "%s", err.text);
    auto_db struct db *db = take_one();
    cr_assert_not(db_query(db,
                           "DO $$BEGIN RAISE INFO 'a' USING ERRCODE = 'CPCHG';"
                           " PERFORM 1/0; END$$",
                           0, NULL, NULL, &err));
    cr_assert(db_begin(db, &err), "%s", err.text);
    must(db, TELL("CPCHG", "'a'"));
    db_rollback(db);
    must(db, "SELECT 1");
    cr_assert_eq(told.count, 0);
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

/* ---- wake-ups of what is committed ---- */

static void count_wake(void *context, const char *channel, const char *payload)
{
    (void)channel;
    _Atomic int *wakes = context;
    if (strcmp(payload, "h1") == 0)
        atomic_fetch_add(wakes, 1);
}

static void begin_and_notify(struct db *db, const char *payload)
{
    cr_assert(db_begin(db, &err));
    db_notify(db, "steps", payload);
    db_notify(db, "steps", payload);
}

Test(db, a_commit_wakes_once_and_a_rollback_nobody)
{
    _Atomic int wakes = 0;
    cr_assert(db_pool_notify_start(pool, count_wake, &wakes, &err), "%s", err.text);
    auto_db struct db *db = take_one();
    begin_and_notify(db, "h1");
    cr_assert_eq(atomic_load(&wakes), 0);
    db_rollback(db);
    cr_assert_eq(atomic_load(&wakes), 0);
    begin_and_notify(db, "h1");
    cr_assert(db_commit(db, &err), "%s", err.text);
    cr_assert_eq(atomic_load(&wakes), 1);
    db_notify(db, "steps", "h1");
    cr_assert_eq(atomic_load(&wakes), 2, "outside of a transaction at once");
}

Test(db, an_inner_commit_wakes_with_the_outer_one)
{
    _Atomic int wakes = 0;
    cr_assert(db_pool_notify_start(pool, count_wake, &wakes, &err), "%s", err.text);
    auto_db struct db *db = take_one();
    cr_assert(db_begin(db, &err));
    begin_and_notify(db, "h1");
    cr_assert(db_commit(db, &err), "%s", err.text);
    cr_assert_eq(atomic_load(&wakes), 0, "the inner one says nothing yet");
    begin_and_notify(db, "h2");
    db_rollback(db);
    cr_assert(db_commit(db, &err), "%s", err.text);
    cr_assert_eq(atomic_load(&wakes), 1, "what came before the inner rollback is not lost");
    cr_assert(db_begin(db, &err));
    begin_and_notify(db, "h1");
    cr_assert(db_commit(db, &err), "%s", err.text);
    db_rollback_all(db);
    cr_assert(db_begin(db, &err) && db_commit(db, &err), "%s", err.text);
    cr_assert_eq(atomic_load(&wakes), 1,
                 "the outer rollback wakes nobody, nor does the next commit");
}

Test(db, others_hear_what_was_committed_and_its_pool_does_not)
{
    static const char *const channels[] = {"steps", NULL};
    _Atomic int local = 0, own = 0, other = 0;
    struct db_listener *of_pool = NULL, *of_other = NULL;
    struct db_pool_stats stats;
    cr_assert(db_pool_notify_start(pool, count_wake, &local, &err), "%s", err.text);
    const struct db_listening to_own = {
        .channels = channels, .on_wake = count_wake, .context = &own, .own = pool};
    const struct db_listening to_other = {
        .channels = channels, .on_wake = count_wake, .context = &other};
    cr_assert(db_listener_open(&of_pool, conninfo(), &to_own, &err), "%s", err.text);
    cr_assert(db_listener_open(&of_other, conninfo(), &to_other, &err), "%s", err.text);
    struct db *db = take_one();
    for (int i = 1; i <= 3; i++) {
        begin_and_notify(db, "h1");
        cr_assert(db_commit(db, &err), "%s", err.text);
        wait_count(&other, i);
    }
    must(db, "SELECT pg_notify('steps', 'h1')");
    wait_count(&own, 1);
    cr_assert_eq(atomic_load(&local), 3);
    db_pool_stats(pool, &stats);
    cr_assert_eq(stats.notices, 3);
    db_give(db);
    db_listener_close(of_pool);
    db_listener_close(of_other);
}

Test(db, many_wake_ups_leave_in_few_statements)
{
    _Atomic int wakes = 0;
    struct db_pool_stats stats;
    cr_assert(db_pool_notify_start(pool, count_wake, &wakes, &err), "%s", err.text);
    struct db *db = take_one();
    for (int i = 0; i < 2000; i++)
        db_notify(db, "steps", i % 2 ? "h1" : "h2");
    cr_assert_eq(atomic_load(&wakes), 1000, "in this process each at once");
    clock_sleep_ms(300);
    db_pool_stats(pool, &stats);
    cr_assert(stats.notify_statements >= 1 && stats.notify_statements < 200, "%d",
              (int)stats.notify_statements);
    cr_assert(stats.notices >= 2 && stats.notices <= 2 * stats.notify_statements);
    db_give(db);
}
