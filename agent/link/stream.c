/* Life of a stream and everything that waits, each wait with a deadline and woken by link_shutdown;
 * see stream.h. */
#include "agent/link/stream.h"

#include "base/clock.h"
#include "base/memory.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* --- life --- */

bool stream_open(struct link_stream **out, int fd, SSL_CTX *context, const char *peer,
                 struct error *err)
{
    struct link_stream *stream = memory_alloc(sizeof *stream);
    stream->fd = fd;
    stream->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    snprintf(stream->peer, sizeof stream->peer, "%s", peer);
    stream->outgoing = memory_alloc(STREAM_OUTGOING);
    pthread_mutex_init(&stream->lock, NULL);
    if (stream->wake_fd < 0 || !stream_attach_tls(stream, context)) {
        link_close(stream);
        return error_set(err, ERROR_NO_SPACE, "no room for another stream");
    }
    *out = stream;
    return true;
}

void link_shutdown(struct link_stream *stream)
{
    atomic_store(&stream->is_shut_down, true);
    uint64_t one = 1;
    ssize_t written = write(stream->wake_fd, &one, sizeof one);
    (void)written; /* only a counter at its maximum refuses, and then it is readable anyway */
}

void link_close(struct link_stream *stream)
{
    if (!stream)
        return;
    stream_set_remove(stream);
    struct error ignored; /* the peer may be gone; it then sees the connection end */
    if (stream->ssl && SSL_is_init_finished(stream->ssl) && !atomic_load(&stream->is_shut_down) &&
        stream_try_end(stream, &ignored) == STREAM_DONE)
        (void)!stream_try_flush(stream, &ignored);
    SSL_free(stream->ssl);
    close(stream->fd);
    if (stream->wake_fd >= 0)
        close(stream->wake_fd);
    pthread_mutex_destroy(&stream->lock);
    free(stream->outgoing);
    free(stream);
}

/* --- waiting --- */

int64_t stream_deadline(int timeout_ms)
{
    return timeout_ms < 0 ? INT64_MAX : clock_monotonic_ms() + timeout_ms;
}

static int remaining_ms(int64_t deadline_ms)
{
    if (deadline_ms == INT64_MAX)
        return -1;
    int64_t left = deadline_ms - clock_monotonic_ms();
    return left < 0 ? 0 : left > INT32_MAX ? INT32_MAX : (int)left;
}

bool stream_wait(struct link_stream *stream, short events, int64_t deadline_ms, struct error *err)
{
    struct pollfd fds[] = {{.fd = stream->fd, .events = events},
                           {.fd = stream->wake_fd, .events = POLLIN}};
    for (;;) {
        int timeout_ms = remaining_ms(deadline_ms);
        int ready = poll(fds, 2, timeout_ms);
        if (ready < 0 && errno != EINTR)
            return error_set_errno(err, ERROR_INTERNAL, errno, "poll");
        if (atomic_load(&stream->is_shut_down))
            return error_set(err, ERROR_CANCELLED, "the stream was shut down");
        if (ready > 0)
            return true;
        if (timeout_ms == 0)
            return error_set(err, ERROR_TIMEOUT, "the peer did not answer in time");
    }
}

static bool finish_writing(struct link_stream *stream, int64_t deadline_ms, struct error *err)
{
    for (;;) {
        enum stream_io flushed = stream_try_flush(stream, err);
        if (flushed != STREAM_AGAIN)
            return flushed == STREAM_DONE;
        if (!stream_wait(stream, POLLOUT, deadline_ms, err))
            return false;
    }
}

bool stream_handshake(struct link_stream *stream, int64_t deadline_ms, struct error *err)
{
    for (;;) {
        enum stream_io io = stream_try_handshake(stream, err);
        if (io == STREAM_FAILED)
            return false;
        if (!finish_writing(stream, deadline_ms, err))
            return false;
        if (io == STREAM_DONE)
            return true;
        if (!stream_wait(stream, POLLIN, deadline_ms, err))
            return false;
    }
}

static bool read_until(struct link_stream *stream, void *data, size_t size, int64_t deadline_ms,
                       size_t *got, struct error *err)
{
    if (size == 0) {
        *got = 0;
        return true;
    }
    for (;;) {
        if (atomic_load(&stream->is_shut_down))
            return error_set(err, ERROR_CANCELLED, "the stream was shut down");
        enum stream_io io = stream_try_read(stream, data, size, got, err);
        if (io == STREAM_END)
            *got = 0;
        if (io == STREAM_DONE || io == STREAM_END)
            return true;
        if (io == STREAM_FAILED)
            return false;
        short events = POLLIN | (stream_has_outgoing(stream) ? POLLOUT : 0);
        if (!stream_wait(stream, events, deadline_ms, err))
            return false;
        if (events & POLLOUT && stream_try_flush(stream, err) == STREAM_FAILED)
            return false;
    }
}

bool link_read(struct link_stream *stream, void *data, size_t size, int timeout_ms, size_t *got,
               struct error *err)
{
    return read_until(stream, data, size, stream_deadline(timeout_ms), got, err) ||
           stream_spoil(stream, err);
}

bool link_read_all(struct link_stream *stream, void *data, size_t size, int timeout_ms,
                   struct error *err)
{
    int64_t deadline_ms = stream_deadline(timeout_ms);
    for (size_t done = 0, got; done < size; done += got) {
        if (!read_until(stream, (char *)data + done, size - done, deadline_ms, &got, err))
            return stream_spoil(stream, err);
        if (got == 0)
            return error_set(err, ERROR_UNREACHABLE,
                             "the peer ended the stream after %zu of %zu bytes", done, size);
    }
    return true;
}

static bool write_until(struct link_stream *stream, const char *data, size_t size,
                        int64_t deadline_ms, struct error *err)
{
    size_t done = 0;
    while (done < size) {
        size_t taken = 0;
        if (atomic_load(&stream->is_shut_down))
            return error_set(err, ERROR_CANCELLED, "the stream was shut down");
        enum stream_io io = stream_try_write(stream, data + done, size - done, &taken, err);
        if (io == STREAM_FAILED)
            return false;
        done += taken;
        if (io == STREAM_AGAIN && !stream_wait(stream, POLLOUT, deadline_ms, err))
            return false;
    }
    return finish_writing(stream, deadline_ms, err);
}

bool link_write_all(struct link_stream *stream, const void *data, size_t size, int timeout_ms,
                    struct error *err)
{
    return write_until(stream, data, size, stream_deadline(timeout_ms), err) ||
           stream_spoil(stream, err);
}

bool stream_write_line(struct link_stream *stream, const char *line, int64_t deadline_ms,
                       struct error *err)
{
    return write_until(stream, line, strlen(line), deadline_ms, err);
}

bool stream_read_line(struct link_stream *stream, char *line, size_t limit, size_t *size,
                      int64_t deadline_ms, struct error *err)
{
    for (size_t i = 0, got; i < limit; i++) {
        if (!read_until(stream, line + i, 1, deadline_ms, &got, err))
            return false;
        if (got == 0)
            return error_set(err, ERROR_UNREACHABLE, "the peer closed the stream while opening it");
        if (line[i] == '\n') {
            *size = i;
            return true;
        }
    }
    return error_set(err, ERROR_INVALID, "expected a line of at most %zu bytes", limit);
}
