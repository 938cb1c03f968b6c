/* Sends wake-ups. A NOTIFY inside the transaction that changed something would make all commits of
 * the database wait for each other, because PostgreSQL lets only one transaction with a NOTIFY
 * commit at a time. So wake-ups leave after the commit, on a connection and a thread of their own:
 * the first at once, what comes within the next milliseconds in one more NOTIFY. */
#include "coordinator/db/db_connection.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"

#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

enum {
    COALESCE_MS = 5, /* rest after each NOTIFY, in which wake-ups gather */
    RETRY_MS = 1000, /* rest after a failure */
    STOP_MS = 50,    /* within which that rest ends when it is time to stop */
};

struct db_notifier {
    struct db db;
    char *conninfo;
    db_on_wake *on_wake;
    void *context;
    pthread_t thread;
    pthread_mutex_t lock; /* guards the next three */
    pthread_cond_t changed;
    struct db_notices pending;
    bool is_stopping;
    bool has_failed; /* the last time */
    _Atomic int backend;
    _Atomic uint64_t notices, statements;
};

/* What is lost with a crash is only a wake-up, so its commit waits for no disk and no standby. */
static bool connect_notifier(struct db_notifier *notifier, struct error *err)
{
    if (!db_connect(&notifier->db, notifier->conninfo, err))
        return false;
    if (!db_execute(&notifier->db, "SET synchronous_commit = off", err)) {
        db_disconnect(&notifier->db);
        return false;
    }
    atomic_store(&notifier->backend, PQbackendPID(notifier->db.connection));
    return true;
}

static char *encode(const struct db_notices *notices)
{
    json_t *list = json_array();
    for (size_t i = 0; i < notices->count; i++)
        json_array_append_new(
            list, json_pack("[s, s]", notices->items[i].channel, notices->items[i].payload));
    char *text = json_dumps(list, JSON_COMPACT);
    json_decref(list);
    if (!text)
        abort(); /* only memory can be missing */
    return text;
}

static bool send_all(struct db_notifier *notifier, const struct db_notices *notices,
                     struct error *err)
{
    static const char sql[] = "SELECT pg_notify(n.notice ->> 0, n.notice ->> 1)"
                              " FROM jsonb_array_elements($1::jsonb) AS n(notice)";
    if (!notifier->db.connection && !connect_notifier(notifier, err))
        return false;
    char *text = encode(notices);
    bool is_sent = db_query(&notifier->db, sql, DB_PARAMS(text), NULL, err);
    free(text);
    return is_sent;
}

/* A connection that has gone since it was used last is replaced at once. */
static bool send_anew(struct db_notifier *notifier, const struct db_notices *notices,
                      struct error *err)
{
    bool was_connected = notifier->db.connection != NULL;
    if (send_all(notifier, notices, err))
        return true;
    return was_connected && !notifier->db.connection && send_all(notifier, notices, err);
}

static bool send_counted(struct db_notifier *notifier, const struct db_notices *notices)
{
    struct error err;
    bool is_sent = send_anew(notifier, notices, &err);
    if (is_sent) {
        atomic_fetch_add(&notifier->statements, 1);
        atomic_fetch_add(&notifier->notices, notices->count);
    } else if (!notifier->has_failed) {
        log_warning("notifying other coordinators: %s", err.text);
    }
    notifier->has_failed = !is_sent;
    return is_sent;
}

/* What could not be sent wakes all of its channel later. */
static void keep(struct db_notifier *notifier, const struct db_notices *notices)
{
    pthread_mutex_lock(&notifier->lock);
    for (size_t i = 0; i < notices->count; i++)
        db_notices_add(&notifier->pending, notices->items[i].channel, "");
    pthread_mutex_unlock(&notifier->lock);
}

/* False when it is time to stop. */
static bool rest(struct db_notifier *notifier)
{
    int64_t until_ms = clock_monotonic_ms() + RETRY_MS;
    bool is_stopping = false;
    while (!is_stopping && clock_monotonic_ms() < until_ms) {
        clock_sleep_ms(STOP_MS);
        pthread_mutex_lock(&notifier->lock);
        is_stopping = notifier->is_stopping;
        pthread_mutex_unlock(&notifier->lock);
    }
    return !is_stopping;
}

/* False when it is time to stop. */
static bool take_pending(struct db_notifier *notifier, struct db_notices *taken)
{
    pthread_mutex_lock(&notifier->lock);
    while (!notifier->pending.count && !notifier->is_stopping)
        pthread_cond_wait(&notifier->changed, &notifier->lock);
    *taken = notifier->pending;
    notifier->pending = (struct db_notices){0};
    pthread_mutex_unlock(&notifier->lock);
    return taken->count > 0;
}

static void *run(void *context)
{
    struct db_notifier *notifier = context;
    struct db_notices taken;
    while (take_pending(notifier, &taken)) {
        bool is_sent = send_counted(notifier, &taken);
        if (!is_sent)
            keep(notifier, &taken);
        db_notices_clear(&taken);
        if (!is_sent && !rest(notifier))
            break;
        clock_sleep_ms(COALESCE_MS);
    }
    return NULL;
}

void db_notifier_publish(struct db_notifier *notifier, struct db_notices *notices)
{
    for (size_t i = 0; notifier && i < notices->count; i++)
        notifier->on_wake(notifier->context, notices->items[i].channel, notices->items[i].payload);
    if (notifier && notices->count) {
        pthread_mutex_lock(&notifier->lock);
        for (size_t i = 0; i < notices->count; i++)
            db_notices_add(&notifier->pending, notices->items[i].channel,
                           notices->items[i].payload);
        pthread_cond_signal(&notifier->changed);
        pthread_mutex_unlock(&notifier->lock);
    }
    db_notices_clear(notices);
}

int db_notifier_backend(const struct db_notifier *notifier)
{
    return notifier ? atomic_load(&notifier->backend) : 0;
}

void db_notifier_stats(const struct db_notifier *notifier, struct db_pool_stats *stats)
{
    stats->notices = notifier ? atomic_load(&notifier->notices) : 0;
    stats->notify_statements = notifier ? atomic_load(&notifier->statements) : 0;
}

static void notifier_free(struct db_notifier *notifier)
{
    db_disconnect(&notifier->db);
    db_notices_clear(&notifier->pending);
    pthread_cond_destroy(&notifier->changed);
    pthread_mutex_destroy(&notifier->lock);
    free(notifier->conninfo);
    free(notifier);
}

bool db_notifier_open(struct db_notifier **out, const char *conninfo, db_on_wake *on_wake,
                      void *context, struct error *err)
{
    struct db_notifier *notifier = memory_alloc(sizeof *notifier);
    notifier->conninfo = memory_copy_text(conninfo);
    notifier->on_wake = on_wake;
    notifier->context = context;
    pthread_mutex_init(&notifier->lock, NULL);
    pthread_cond_init(&notifier->changed, NULL);
    int failed = pthread_create(&notifier->thread, NULL, run, notifier);
    if (failed) {
        notifier_free(notifier);
        return error_set_errno(err, ERROR_INTERNAL, failed, "starting the notifier thread");
    }
    *out = notifier;
    return true;
}

void db_notifier_close(struct db_notifier *notifier)
{
    if (!notifier)
        return;
    pthread_mutex_lock(&notifier->lock);
    notifier->is_stopping = true;
    pthread_cond_signal(&notifier->changed);
    pthread_mutex_unlock(&notifier->lock);
    pthread_join(notifier->thread, NULL);
    notifier_free(notifier);
}
