/* The pool: a fixed number of places, each connected when first needed and again after a loss. */
#include "coordinator/db/db_connection.h"

#include "base/clock.h"
#include "base/memory.h"

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

enum {
    IDLE_CHECK_MS = 500, /* a connection idle for longer is looked at before use */
    /* After a failed connect nobody else tries for as long as it took, within these: a server that
     * refuses at once may be asked again soon, one that says nothing must not hold every caller. */
    FAILED_CONNECT_MIN_MS = 100,
    FAILED_CONNECT_MAX_MS = 1000,
};

struct db_pool {
    pthread_mutex_t lock;
    pthread_cond_t given_back;
    char *conninfo;
    struct db *places;
    int count;
    int64_t fails_until_ms; /* until then a connect is not tried, 0 = none failed */
    struct error failure;
    struct db_notifier *notifier; /* NULL: what is committed wakes nobody */
};

static void init_condition(pthread_cond_t *condition)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(condition, &attributes);
    pthread_condattr_destroy(&attributes);
}

bool db_pool_open(struct db_pool **out, const char *conninfo, int connections, struct error *err)
{
    if (connections < 1)
        return error_set(err, ERROR_INVALID, "database: a pool needs at least one connection");
    struct db_pool *pool = memory_alloc(sizeof *pool);
    pthread_mutex_init(&pool->lock, NULL);
    init_condition(&pool->given_back);
    pool->conninfo = memory_copy_text(conninfo);
    pool->places = memory_array((size_t)connections, sizeof *pool->places);
    pool->count = connections;
    for (int i = 0; i < connections; i++)
        pool->places[i].pool = pool;
    if (!db_connect(&pool->places[0], conninfo, err)) {
        db_pool_close(pool);
        return false;
    }
    *out = pool;
    return true;
}

void db_pool_close(struct db_pool *pool)
{
    if (!pool)
        return;
    db_pool_notify_stop(pool);
    for (int i = 0; i < pool->count; i++)
        db_disconnect(&pool->places[i]);
    pthread_cond_destroy(&pool->given_back);
    pthread_mutex_destroy(&pool->lock);
    free(pool->places);
    free(pool->conninfo);
    free(pool);
}

/* A connected place is better than one that still has to connect. Called locked. */
static struct db *free_place(struct db_pool *pool)
{
    struct db *found = NULL;
    for (int i = 0; i < pool->count; i++) {
        struct db *place = &pool->places[i];
        if (place->is_taken)
            continue;
        if (place->connection)
            return place;
        found = found ? found : place;
    }
    return found;
}

static struct db *wait_for_place(struct db_pool *pool, int timeout_ms)
{
    int64_t deadline_ms = clock_monotonic_ms() + timeout_ms;
    struct timespec deadline = {.tv_sec = (time_t)(deadline_ms / 1000),
                                .tv_nsec = (long)(deadline_ms % 1000) * 1000000};
    pthread_mutex_lock(&pool->lock);
    struct db *place = free_place(pool);
    while (!place && pthread_cond_timedwait(&pool->given_back, &pool->lock, &deadline) == 0)
        place = free_place(pool);
    if (place)
        place->is_taken = true;
    pthread_mutex_unlock(&pool->lock);
    return place;
}

/* Nothing is said to an idle connection but that it ends: it would fail the caller's first
 * statement although a new connection works. */
static bool is_stale(struct db *db)
{
    struct pollfd poll_fd = {.fd = PQsocket(db->connection), .events = POLLIN};
    return clock_monotonic_ms() - db->used_at_ms >= IDLE_CHECK_MS && poll(&poll_fd, 1, 0) != 0;
}

static bool failed_just_now(struct db_pool *pool, struct error *err)
{
    pthread_mutex_lock(&pool->lock);
    bool is_recent = clock_monotonic_ms() < pool->fails_until_ms;
    if (is_recent)
        *err = pool->failure;
    pthread_mutex_unlock(&pool->lock);
    return is_recent;
}

static int64_t pause_after_failure_ms(int64_t took_ms)
{
    return took_ms < FAILED_CONNECT_MIN_MS   ? FAILED_CONNECT_MIN_MS
           : took_ms > FAILED_CONNECT_MAX_MS ? FAILED_CONNECT_MAX_MS
                                             : took_ms;
}

static bool connect_place(struct db_pool *pool, struct db *place, struct error *err)
{
    if (failed_just_now(pool, err))
        return false;
    int64_t begin_ms = clock_monotonic_ms();
    bool is_connected = db_connect(place, pool->conninfo, err);
    int64_t end_ms = clock_monotonic_ms();
    pthread_mutex_lock(&pool->lock);
    pool->fails_until_ms = is_connected ? 0 : end_ms + pause_after_failure_ms(end_ms - begin_ms);
    if (!is_connected)
        pool->failure = *err;
    pthread_mutex_unlock(&pool->lock);
    return is_connected;
}

bool db_take(struct db_pool *pool, int timeout_ms, struct db **out, struct error *err)
{
    struct db *place = wait_for_place(pool, timeout_ms);
    if (!place)
        return error_set(err, ERROR_UNREACHABLE, "database: all %d connections are busy",
                         pool->count);
    if (place->connection && is_stale(place))
        db_disconnect(place);
    if (!place->connection && !connect_place(pool, place, err)) {
        db_give(place);
        return false;
    }
    place->statements = 0;
    *out = place;
    return true;
}

void db_give(struct db *db)
{
    if (!db)
        return;
    db->depth = 0; /* all of it ends */
    db_forget_waiting(db);
    db_notices_clear(&db->notices);
    if (db->connection && PQtransactionStatus(db->connection) != PQTRANS_IDLE)
        db_rollback(db);
    struct db_pool *pool = db->pool;
    pthread_mutex_lock(&pool->lock);
    db->used_at_ms = clock_monotonic_ms();
    db->is_taken = false;
    pthread_cond_signal(&pool->given_back);
    pthread_mutex_unlock(&pool->lock);
}

bool db_pool_notify_start(struct db_pool *pool, db_on_wake *on_wake, void *context,
                          struct error *err)
{
    return db_notifier_open(&pool->notifier, pool->conninfo, on_wake, context, err);
}

void db_pool_notify_stop(struct db_pool *pool)
{
    db_notifier_close(pool->notifier);
    pool->notifier = NULL;
}

struct db_notifier *db_pool_notifier(struct db_pool *pool)
{
    return pool ? pool->notifier : NULL;
}

void db_pool_stats(struct db_pool *pool, struct db_pool_stats *stats)
{
    *stats = (struct db_pool_stats){.places = pool->count};
    pthread_mutex_lock(&pool->lock);
    for (int i = 0; i < pool->count; i++) {
        stats->taken += pool->places[i].is_taken;
        stats->connected += !pool->places[i].is_taken && pool->places[i].connection;
    }
    pthread_mutex_unlock(&pool->lock);
    stats->connected += stats->taken;
    db_notifier_stats(pool->notifier, stats);
}
