/* LISTEN on a thread of its own. A notification only wakes; after each loss everything is woken
 * once, since something may have been missed. Of what has changed nothing may be missed, so at each
 * beat the listener also reads that from the database itself. */
#include "coordinator/db/db_change_reader.h"
#include "coordinator/db/db_connection.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "base/memory.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum {
    BEAT_MS = 500,
    RETRY_MIN_MS = 100,
    RETRY_MAX_MS = 2000,
};

struct db_listener {
    pthread_t thread;
    struct db db;
    char *conninfo;
    char **channels;
    _Atomic uint64_t *heard; /* of each channel */
    size_t channel_count;
    struct db_listening listening;
    struct db_change_reader changes;
    int stop_fd;
    bool is_stopped; /* the thread has ended */
    _Atomic bool is_listening;
    _Atomic uint64_t losses;
};

static bool listen_to(struct db *db, const char *channel, struct error *err)
{
    char *name = PQescapeIdentifier(db->connection, channel, strlen(channel));
    auto_free char *sql = memory_format("LISTEN %s", name ? name : "");
    PQfreemem(name);
    return db_execute(db, sql, err);
}

/* What it removes may as well be removed twice, so it need not wait for the disk. */
static const char set_up_sql[] =
    "SET application_name = 'crosspool-coordinator listener'; SET synchronous_commit = off";

static bool listen_all(struct db_listener *listener, struct error *err)
{
    struct db *db = &listener->db;
    if (!failpoint("database.listen", err) || !db_connect(db, listener->conninfo, err))
        return false;
    bool is_listening = db_execute(db, set_up_sql, err);
    for (size_t i = 0; is_listening && i < listener->channel_count; i++)
        is_listening = listen_to(db, listener->channels[i], err);
    if (is_listening && listener->listening.on_heard)
        is_listening = db_change_reader_begin(&listener->changes, db, err);
    if (!is_listening)
        db_disconnect(db);
    atomic_store(&listener->is_listening, is_listening);
    return is_listening;
}

static void tell_heard(struct db_listener *listener, int64_t until_ms)
{
    if (listener->listening.on_heard)
        listener->listening.on_heard(listener->listening.context, until_ms);
}

static void tell_all(struct db_listener *listener)
{
    for (size_t i = 0; i < listener->channel_count; i++)
        listener->listening.on_wake(listener->listening.context, listener->channels[i], "");
}

static void tell(struct db_listener *listener, const PGnotify *notify)
{
    for (size_t i = 0; i < listener->channel_count; i++)
        atomic_fetch_add(&listener->heard[i], strcmp(notify->relname, listener->channels[i]) == 0);
    if (notify->be_pid != db_notifier_backend(db_pool_notifier(listener->listening.own)))
        listener->listening.on_wake(listener->listening.context, notify->relname, notify->extra);
}

static void deliver(struct db_listener *listener)
{
    PGnotify *notify;
    while (listener->db.connection && (notify = PQnotifies(listener->db.connection)) != NULL) {
        tell(listener, notify);
        PQfreemem(notify);
    }
}

static bool beat(struct db_listener *listener, struct error *err)
{
    int64_t until_ms = 0;
    const struct db_listening *listening = &listener->listening;
    if (!listening->on_heard)
        return true;
    if (!db_change_reader_read(&listener->changes, &listener->db, listening->on_wake,
                               listening->context, &until_ms, err))
        return false;
    tell_heard(listener, until_ms);
    return true;
}

/* True when the listener is to stop; waits at most wait_ms for that or for input. */
static bool wait_stop(const struct db_listener *listener, int wait_ms, bool *has_input)
{
    struct pollfd fds[2] = {{.fd = listener->stop_fd, .events = POLLIN},
                            {.fd = -1, .events = POLLIN}};
    if (has_input && listener->db.connection)
        fds[1].fd = PQsocket(listener->db.connection);
    if (poll(fds, 2, wait_ms) < 0 && errno != EINTR)
        return true;
    if (has_input)
        *has_input = fds[1].revents != 0;
    return fds[0].revents != 0;
}

/* Serves one connection until it is lost (false) or the listener is to stop (true). */
static bool serve(struct db_listener *listener)
{
    int64_t beat_ms = 0; /* when the next one is due */
    for (;;) {
        struct error err;
        int64_t now_ms = clock_monotonic_ms();
        if (now_ms >= beat_ms) {
            beat_ms = now_ms + BEAT_MS;
            if (!beat(listener, &err)) {
                log_warning("listening for notifications: %s", err.text);
                return false;
            }
            deliver(listener);
        }
        bool has_input = false;
        if (wait_stop(listener, (int)(beat_ms - now_ms), &has_input))
            return true;
        if (has_input && !PQconsumeInput(listener->db.connection)) {
            log_warning("listening for notifications: the database connection was lost");
            return false;
        }
        deliver(listener);
    }
}

/* False when the listener is to stop. */
static bool reconnect(struct db_listener *listener)
{
    int wait_ms = RETRY_MIN_MS;
    struct error err;
    tell_heard(listener, 0);
    db_disconnect(&listener->db);
    atomic_store(&listener->is_listening, false);
    atomic_fetch_add(&listener->losses, 1);
    while (!listen_all(listener, &err)) {
        log_debug("listening for notifications: %s", err.text);
        if (wait_stop(listener, wait_ms, NULL))
            return false;
        wait_ms = wait_ms * 2 < RETRY_MAX_MS ? wait_ms * 2 : RETRY_MAX_MS;
    }
    log_info("listening for notifications again");
    tell_all(listener);
    return true;
}

static void *run(void *context)
{
    struct db_listener *listener = context;
    while (!serve(listener)) {
        if (!reconnect(listener))
            break;
    }
    return NULL;
}

static void listener_free(struct db_listener *listener)
{
    db_disconnect(&listener->db);
    if (listener->stop_fd >= 0)
        close(listener->stop_fd);
    for (size_t i = 0; i < listener->channel_count; i++)
        free(listener->channels[i]);
    free(listener->channels);
    db_change_reader_done(&listener->changes);
    free(listener->heard);
    free(listener->conninfo);
    free(listener);
}

static struct db_listener *listener_new(const char *conninfo, const struct db_listening *listening)
{
    const char *const *channels = listening->channels;
    struct db_listener *listener = memory_alloc(sizeof *listener);
    listener->conninfo = memory_copy_text(conninfo);
    listener->listening = *listening;
    while (channels[listener->channel_count])
        listener->channel_count++;
    listener->channels = memory_array(listener->channel_count, sizeof *listener->channels);
    listener->heard = memory_array(listener->channel_count, sizeof *listener->heard);
    for (size_t i = 0; i < listener->channel_count; i++)
        listener->channels[i] = memory_copy_text(channels[i]);
    return listener;
}

bool db_listener_open(struct db_listener **out, const char *conninfo,
                      const struct db_listening *listening, struct error *err)
{
    struct db_listener *listener = listener_new(conninfo, listening);
    listener->stop_fd = eventfd(0, EFD_CLOEXEC);
    if (listener->stop_fd < 0) {
        error_set_errno(err, ERROR_INTERNAL, errno, "eventfd");
        listener_free(listener);
        return false;
    }
    if (!listen_all(listener, err)) {
        listener_free(listener);
        return false;
    }
    int failed = pthread_create(&listener->thread, NULL, run, listener);
    if (failed) {
        error_set_errno(err, ERROR_INTERNAL, failed, "starting the listener thread");
        listener_free(listener);
        return false;
    }
    *out = listener;
    return true;
}

void db_listener_stats(struct db_listener *listener, struct db_listener_stats *stats)
{
    *stats = (struct db_listener_stats){.is_listening = atomic_load(&listener->is_listening),
                                        .losses = atomic_load(&listener->losses)};
}

void db_listener_each_channel(struct db_listener *listener, db_heard_visit *visit, void *context)
{
    for (size_t i = 0; i < listener->channel_count; i++)
        visit(context, listener->channels[i], atomic_load(&listener->heard[i]));
}

void db_listener_stop(struct db_listener *listener)
{
    if (!listener || listener->is_stopped)
        return;
    uint64_t one = 1;
    while (write(listener->stop_fd, &one, sizeof one) < 0 && errno == EINTR)
        ;
    pthread_join(listener->thread, NULL);
    listener->is_stopped = true;
    atomic_store(&listener->is_listening, false);
}

void db_listener_close(struct db_listener *listener)
{
    if (!listener)
        return;
    db_listener_stop(listener);
    listener_free(listener);
}
