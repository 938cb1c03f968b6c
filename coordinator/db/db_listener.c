/* LISTEN on a thread of its own. A notification only wakes; after each loss everything is woken
 * once, since something may have been missed. */
#include "coordinator/db/db_connection.h"

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
    PROBE_MS = 10000, /* a quiet connection is asked whether it still lives */
    RETRY_MIN_MS = 100,
    RETRY_MAX_MS = 2000,
};

struct db_listener {
    pthread_t thread;
    struct db db;
    char *conninfo;
    char **channels;
    size_t channel_count;
    db_on_wake *on_wake;
    void *context;
    int stop_fd;
    _Atomic(struct db_pool *) own; /* whose notifications are not heard; NULL = none */
    _Atomic bool is_listening;
    _Atomic uint64_t heard, losses;
};

static bool listen_all(struct db_listener *listener, struct error *err)
{
    if (!failpoint("database.listen", err) || !db_connect(&listener->db, listener->conninfo, err))
        return false;
    for (size_t i = 0; i < listener->channel_count; i++) {
        const char *channel = listener->channels[i];
        char *name = PQescapeIdentifier(listener->db.connection, channel, strlen(channel));
        char *sql = memory_format("LISTEN %s", name ? name : "");
        PQfreemem(name);
        bool is_listening = db_execute(&listener->db, sql, err);
        free(sql);
        if (!is_listening) {
            db_disconnect(&listener->db);
            return false;
        }
    }
    atomic_store(&listener->is_listening, true);
    return true;
}

static void deliver(struct db_listener *listener)
{
    int own = db_notifier_backend(db_pool_notifier(atomic_load(&listener->own)));
    PGnotify *notify;
    while ((notify = PQnotifies(listener->db.connection)) != NULL) {
        atomic_fetch_add(&listener->heard, 1);
        if (notify->be_pid != own)
            listener->on_wake(listener->context, notify->relname, notify->extra);
        PQfreemem(notify);
    }
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
    for (;;) {
        bool has_input = false;
        if (wait_stop(listener, PROBE_MS, &has_input))
            return true;
        struct error err;
        if (!has_input && !db_execute(&listener->db, "SELECT 1", &err)) {
            log_warning("listening for notifications: %s", err.text);
            return false;
        }
        if (!PQconsumeInput(listener->db.connection)) {
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
    for (size_t i = 0; i < listener->channel_count; i++)
        listener->on_wake(listener->context, listener->channels[i], "");
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
    free(listener->conninfo);
    free(listener);
}

bool db_listener_open(struct db_listener **out, const char *conninfo, const char *const channels[],
                      db_on_wake *on_wake, void *context, struct error *err)
{
    struct db_listener *listener = memory_alloc(sizeof *listener);
    listener->conninfo = memory_copy_text(conninfo);
    listener->on_wake = on_wake;
    listener->context = context;
    while (channels[listener->channel_count])
        listener->channel_count++;
    listener->channels = memory_array(listener->channel_count + 1, sizeof *listener->channels);
    for (size_t i = 0; i < listener->channel_count; i++)
        listener->channels[i] = memory_copy_text(channels[i]);
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

void db_listener_skip(struct db_listener *listener, struct db_pool *pool)
{
    atomic_store(&listener->own, pool);
}

void db_listener_stats(struct db_listener *listener, struct db_listener_stats *stats)
{
    *stats = (struct db_listener_stats){.is_listening = atomic_load(&listener->is_listening),
                                        .heard = atomic_load(&listener->heard),
                                        .losses = atomic_load(&listener->losses)};
}

void db_listener_close(struct db_listener *listener)
{
    if (!listener)
        return;
    uint64_t one = 1;
    while (write(listener->stop_fd, &one, sizeof one) < 0 && errno == EINTR)
        ;
    pthread_join(listener->thread, NULL);
    listener_free(listener);
}
