/* Who hears of what was changed, and when: the listener, the writer itself, wake-ups. */
#include "base/clock.h"
#include "tests/unit/coordinator_db/fixture.h"

#include <criterion/criterion.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

/* ---- what a writer is told ---- */

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
    must(db, TELL("CPCHG", "E'a 2\\na 3\\na 2'"));
    must(db, TELL("CPEVT", "'added'"));
    cr_assert_eq(told.count, 1, "not before the commit");
    cr_assert(db_commit(db, &err), "%s", err.text);
    cr_assert_eq(told.count, 4, "each once");
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
