/* A relay: one thread that gets its local client, splices it with the stream, and watches how long
 * the client waits. The thread owns stream and local socket; others only read the status and shut
 * the stream down, which wakes it. */
#include "agent/link/relay.h"

#include "agent/link/socket.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* A client that closed both ways while bytes of it are on their way: they get this long without
 * progress, and so does the peer to end its side. */
enum { FAREWELL_MS = 5000, RETRY_MS = 10 };

struct link_relay {
    struct link_relay_options options; /* path owned */
    char *path;
    int listener, local;
    struct relay_splice splice;
    struct nbd_watch watch;
    bool has_stalled;
    int64_t gone_since_ms; /* local client gone: last progress, 0 = it is there */
    uint64_t gone_at_bytes;
    pthread_t thread;

    pthread_mutex_t lock; /* below */
    pthread_cond_t ended;
    struct link_stream *stream; /* NULL once it is closed */
    struct link_relay_status status;
    int64_t waiting_since_ms; /* the oldest request's time; INT64_MAX: none */
};

/* --- the thread --- */

static void publish(struct link_relay *relay, bool has_ended)
{
    const struct relay_splice *splice = &relay->splice;
    pthread_mutex_lock(&relay->lock);
    struct link_relay_status *status = &relay->status;
    status->has_stalled = relay->has_stalled;
    status->sent_bytes = splice->sent_bytes;
    status->received_bytes = splice->received_bytes;
    relay->waiting_since_ms = INT64_MAX;
    if (splice->watch) {
        int64_t now_ms = clock_monotonic_ms();
        status->written_bytes = relay->watch.written_bytes;
        status->longest_wait_ms = nbd_watch_longest_ms(&relay->watch, now_ms);
        if (relay->watch.recent_wait_ms > status->recent_wait_ms)
            status->recent_wait_ms = relay->watch.recent_wait_ms;
        relay->watch.recent_wait_ms = 0;
        status->outstanding = has_ended ? 0 : nbd_watch_outstanding(&relay->watch);
        if (status->outstanding > 0)
            relay->waiting_since_ms = now_ms - nbd_watch_oldest_ms(&relay->watch, now_ms);
    }
    status->has_ended = has_ended;
    if (has_ended)
        pthread_cond_broadcast(&relay->ended);
    pthread_mutex_unlock(&relay->lock);
}

static void close_listener(struct link_relay *relay)
{
    if (relay->listener < 0)
        return;
    close(relay->listener);
    relay->listener = -1;
    unlink(relay->path);
}

/* Waits for the one client; false when the stream ends before it comes. */
static bool await_client(struct link_relay *relay, struct error *err)
{
    while (relay->local < 0) {
        struct pollfd fds[] = {
            {.fd = relay->listener, .events = POLLIN},
            {.fd = relay->stream->fd, .events = POLLRDHUP},
            {.fd = relay->stream->wake_fd, .events = POLLIN},
        };
        if (poll(fds, 3, -1) < 0)
            continue;
        if (fds[1].revents || fds[2].revents)
            return error_set(err, fds[2].revents ? ERROR_CANCELLED : ERROR_UNREACHABLE,
                             "the stream ended before the local client came");
        relay->local = accept4(relay->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (relay->local < 0)
            clock_sleep_ms(RETRY_MS); /* no descriptor left: the client stays in the backlog */
    }
    close_listener(relay);
    return socket_tune_local(relay->local, err);
}

/* Milliseconds until the client has waited too long; -1: it waits for nothing. */
static int stall_in_ms(const struct link_relay *relay, int64_t now_ms)
{
    if (!relay->splice.watch || relay->splice.is_local_gone ||
        nbd_watch_outstanding(&relay->watch) == 0)
        return -1;
    int64_t left = relay->options.stall_limit_ms - nbd_watch_oldest_ms(&relay->watch, now_ms);
    return left > 0 ? (int)left : 0;
}

static int farewell_in_ms(struct link_relay *relay, int64_t now_ms)
{
    const struct relay_splice *splice = &relay->splice;
    if (!splice->is_local_gone)
        return -1;
    if (relay->gone_since_ms == 0 || relay->gone_at_bytes != splice->sent_bytes) {
        relay->gone_since_ms = now_ms;
        relay->gone_at_bytes = splice->sent_bytes;
    }
    int64_t left = relay->gone_since_ms + FAREWELL_MS - now_ms;
    return left > 0 ? (int)left : 0;
}

/* Moves, then judges: an answer that is already here counts, however late this thread got the
 * processor. False when the relay is at its end; err->text is empty when that is orderly. */
static bool turn(struct link_relay *relay, struct error *err)
{
    struct relay_splice *splice = &relay->splice;
    bool has_moved;
    if (atomic_load(&relay->stream->is_shut_down))
        return error_set(err, ERROR_CANCELLED, "the stream was shut down");
    if (!relay_splice_move(splice, &has_moved, err) || relay_splice_has_ended(splice))
        return false;
    int64_t now_ms = clock_monotonic_ms();
    int stall_ms = stall_in_ms(relay, now_ms), farewell_ms = farewell_in_ms(relay, now_ms);
    relay->has_stalled = stall_ms == 0;
    if (relay->has_stalled)
        return error_set(err, ERROR_TIMEOUT, "the peer let an NBD request wait for %d ms",
                         relay->options.stall_limit_ms);
    if (farewell_ms == 0)
        return error_set(err, ERROR_TIMEOUT, "the peer did not end its side");
    publish(relay, false);
    if (!has_moved)
        relay_splice_wait(splice, stall_ms >= 0 ? stall_ms : farewell_ms);
    return true;
}

/* The local socket first: the guest behind it must go on whatever the network does. */
static void close_both(struct link_relay *relay, bool is_orderly)
{
    close_listener(relay);
    if (relay->local >= 0)
        close(relay->local);
    pthread_mutex_lock(&relay->lock);
    struct link_stream *stream = take(relay->stream);
    pthread_mutex_unlock(&relay->lock);
    if (relay->has_stalled)
        socket_close_hard(stream->fd);
    if (!is_orderly)
        link_shutdown(stream);
    link_close(stream);
}

static void *run(void *argument)
{
    struct link_relay *relay = argument;
    struct error err = {.text = ""};
    char peer[sizeof relay->stream->peer];
    memcpy(peer, relay->stream->peer, sizeof peer);
    if (await_client(relay, &err)) {
        relay_splice_init(&relay->splice, relay->stream, relay->local,
                          relay->options.bandwidth_bytes_per_s,
                          relay->options.watch_nbd ? &relay->watch : NULL);
        while (turn(relay, &err))
            ;
    }
    close_both(relay, err.text[0] == '\0');
    if (err.text[0] && err.code != ERROR_CANCELLED)
        log_warning("link: relay with %s ended: %s", peer, err.text);
    publish(relay, true);
    relay_splice_done(&relay->splice);
    return NULL;
}

/* --- life --- */

static void free_relay(struct link_relay *relay)
{
    close_listener(relay);
    pthread_cond_destroy(&relay->ended);
    pthread_mutex_destroy(&relay->lock);
    free(relay->path);
    free(relay);
}

static struct link_relay *new_relay(struct link_stream *stream,
                                    const struct link_relay_options *options)
{
    struct link_relay *relay = memory_alloc(sizeof *relay);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&relay->ended, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&relay->lock, NULL);
    relay->options = *options;
    relay->path = memory_copy_text(options->path ? options->path : "");
    relay->options.path = relay->path;
    relay->listener = relay->local = -1;
    relay->stream = stream;
    relay->waiting_since_ms = INT64_MAX;
    return relay;
}

static bool start(struct link_relay *relay, struct error *err)
{
    int failure = pthread_create(&relay->thread, NULL, run, relay);
    return failure == 0 || error_set_errno(err, ERROR_NO_SPACE, failure, "starting a relay");
}

bool link_relay_start(struct link_relay **out, struct link_stream *stream,
                      const struct link_relay_options *options, struct error *err)
{
    struct link_relay *relay = new_relay(stream, options);
    bool has_socket = options->is_listening
                          ? socket_listen_local(options->path, &relay->listener, err)
                          : socket_connect_local(options->path, &relay->local, err);
    if (has_socket && start(relay, err)) {
        *out = relay;
        return true;
    }
    close_both(relay, false);
    free_relay(relay);
    return false;
}

bool link_relay_start_fd(struct link_relay **out, struct link_stream *stream, int fd,
                         const struct link_relay_options *options, struct error *err)
{
    struct link_relay *relay = new_relay(stream, options);
    relay->local = fd;
    if (start(relay, err)) {
        *out = relay;
        return true;
    }
    close_both(relay, false);
    free_relay(relay);
    return false;
}

void link_relay_status(struct link_relay *relay, struct link_relay_status *out)
{
    pthread_mutex_lock(&relay->lock);
    *out = relay->status;
    relay->status.recent_wait_ms = 0;
    int64_t waits_ms = clock_monotonic_ms() - relay->waiting_since_ms;
    pthread_mutex_unlock(&relay->lock);
    if (waits_ms > out->longest_wait_ms)
        out->longest_wait_ms = waits_ms; /* the thread sleeps while the client waits */
    if (waits_ms > out->recent_wait_ms)
        out->recent_wait_ms = waits_ms;
}

static struct timespec time_after(int timeout_ms)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_sec += timeout_ms / 1000;
    at.tv_nsec += timeout_ms % 1000 * 1000000L;
    if (at.tv_nsec >= 1000000000L) {
        at.tv_sec++;
        at.tv_nsec -= 1000000000L;
    }
    return at;
}

bool link_relay_wait(struct link_relay *relay, int timeout_ms)
{
    struct timespec until = time_after(timeout_ms < 0 ? 0 : timeout_ms);
    int result = 0;
    pthread_mutex_lock(&relay->lock);
    while (!relay->status.has_ended && result == 0)
        result = timeout_ms < 0 ? pthread_cond_wait(&relay->ended, &relay->lock)
                                : pthread_cond_timedwait(&relay->ended, &relay->lock, &until);
    bool has_ended = relay->status.has_ended;
    pthread_mutex_unlock(&relay->lock);
    return has_ended;
}

void link_relay_stop(struct link_relay *relay)
{
    if (!relay)
        return;
    pthread_mutex_lock(&relay->lock);
    if (relay->stream)
        link_shutdown(relay->stream);
    pthread_mutex_unlock(&relay->lock);
    pthread_join(relay->thread, NULL);
    free_relay(relay);
}
