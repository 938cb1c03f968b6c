/* Moves bytes between a local socket and a stream; see relay.h. Neither side is ever waited for in
 * the middle of a move, so that the caller can act at any time. A buffer is filled again only when
 * it is empty, or holds a part of a request: the sockets' own buffers keep both sides busy
 * meanwhile.
 */
#include "agent/link/relay.h"

#include "base/clock.h"
#include "base/memory.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>

void relay_splice_init(struct relay_splice *splice, struct link_stream *stream, int local,
                       int64_t bandwidth_bytes_per_s, struct nbd_watch *watch)
{
    *splice = (struct relay_splice){.stream = stream, .local = local, .watch = watch};
    splice->up.data = memory_alloc(RELAY_BUFFER);
    splice->down.data = memory_alloc(RELAY_BUFFER);
    token_bucket_init(&splice->bucket, bandwidth_bytes_per_s, clock_monotonic_us());
    if (watch)
        nbd_watch_init(watch, clock_monotonic_ms());
}

void relay_splice_done(struct relay_splice *splice)
{
    free(splice->up.data);
    free(splice->down.data);
}

static bool is_empty(const struct relay_pipe *pipe)
{
    return pipe->start == pipe->end;
}

static bool wants_more(const struct relay_pipe *pipe)
{
    return is_empty(pipe) && !pipe->has_read_end;
}

/* --- towards the peer --- */

/* The peer can do nothing with a part of a request: the rest of its payload is waited for as long
 * as there is room, so that a header does not travel alone. */
static bool is_gathering(const struct relay_splice *splice)
{
    const struct relay_pipe *up = &splice->up;
    return splice->watch && splice->watch->client.skip > 0 && up->start == 0 && up->end > 0 &&
           up->end < RELAY_BUFFER && !up->has_read_end;
}

static bool wants_local(const struct relay_splice *splice)
{
    return wants_more(&splice->up) || is_gathering(splice);
}

static bool read_local(struct relay_splice *splice, bool *has_moved, struct error *err)
{
    struct relay_pipe *up = &splice->up;
    if (!wants_local(splice) || splice->is_local_unreadable)
        return true;
    size_t have = is_gathering(splice) ? up->end : 0;
    ssize_t got = recv(splice->local, up->data + have, RELAY_BUFFER - have, 0);
    bool is_retry = got < 0 && (errno == EAGAIN || errno == EINTR);
    if (is_retry && !splice->is_local_gone) {
        splice->is_local_unreadable = errno == EAGAIN;
        *has_moved |= errno == EINTR;
        return true;
    }
    *has_moved = true;
    if (got <= 0) { /* a reset is an end too: the client is gone, and that is its right */
        up->has_read_end = true;
        splice->is_local_gone |= got < 0;
        return true;
    }
    up->start = 0;
    up->end = have + (size_t)got;
    return !splice->watch ||
           nbd_watch_client(splice->watch, up->data + have, (size_t)got, clock_monotonic_ms(), err);
}

/* A peer that takes nothing any more ends only this direction: what it sent before may still be
 * there to be read, and reading then tells why it went. */
static void note_write(struct relay_splice *splice, enum stream_io io)
{
    splice->is_peer_unwritable = io == STREAM_AGAIN;
    if (io != STREAM_FAILED)
        return;
    splice->is_peer_gone = true;
    splice->is_peer_unreadable = false;
    splice->up.start = splice->up.end;
    splice->up.has_read_end = splice->up.has_passed_end = true;
}

static void write_peer(struct relay_splice *splice, bool *has_moved)
{
    struct relay_pipe *up = &splice->up;
    splice->is_throttled = false;
    if (is_empty(up) || is_gathering(splice) || splice->is_peer_unwritable)
        return;
    size_t wanted = up->end - up->start, taken;
    size_t allowed = token_bucket_allows(&splice->bucket, wanted, clock_monotonic_us());
    splice->is_throttled = allowed == 0;
    if (allowed == 0)
        return;
    struct error err;
    enum stream_io io =
        stream_try_write(splice->stream, up->data + up->start, allowed, &taken, &err);
    note_write(splice, io);
    if (io != STREAM_DONE)
        return;
    token_bucket_spend(&splice->bucket, taken);
    splice->sent_bytes += taken;
    up->start += taken;
    *has_moved = true;
}

static void flush_peer(struct relay_splice *splice)
{
    struct error err;
    if (!splice->is_peer_unwritable && !splice->is_peer_gone && stream_has_outgoing(splice->stream))
        note_write(splice, stream_try_flush(splice->stream, &err));
}

static void pass_end_to_peer(struct relay_splice *splice, bool *has_moved)
{
    struct relay_pipe *up = &splice->up;
    struct error err;
    if (!up->has_read_end || up->has_passed_end || !is_empty(up))
        return;
    if (!splice->is_end_queued) {
        splice->is_end_queued = true;
        note_write(splice, stream_try_end(splice->stream, &err));
        flush_peer(splice);
    }
    up->has_passed_end |= !stream_has_outgoing(splice->stream);
    *has_moved |= up->has_passed_end;
}

/* --- towards the local socket --- */

static bool read_peer(struct relay_splice *splice, bool *has_moved, struct error *err)
{
    struct relay_pipe *down = &splice->down;
    size_t got;
    if (!wants_more(down) || splice->is_peer_unreadable)
        return true;
    switch (stream_try_read(splice->stream, down->data, RELAY_BUFFER, &got, err)) {
    case STREAM_AGAIN:
        splice->is_peer_unreadable = true;
        return !splice->is_peer_gone || error_set(err, ERROR_UNREACHABLE, "the peer went away");
    case STREAM_END:
        down->has_read_end = true;
        *has_moved = true;
        return true;
    case STREAM_FAILED:
        return false;
    default:
        break;
    }
    *has_moved = true;
    splice->received_bytes += got;
    down->start = 0;
    down->end = got;
    return !splice->watch ||
           nbd_watch_server(splice->watch, down->data, got, clock_monotonic_ms(), err);
}

static void write_local(struct relay_splice *splice, bool *has_moved)
{
    struct relay_pipe *down = &splice->down;
    if (is_empty(down) || splice->is_local_unwritable)
        return;
    if (splice->is_local_gone) {
        down->start = down->end;
        *has_moved = true;
        return;
    }
    ssize_t sent =
        send(splice->local, down->data + down->start, down->end - down->start, MSG_NOSIGNAL);
    if (sent < 0 && errno == EAGAIN) {
        splice->is_local_unwritable = true;
        return;
    }
    *has_moved = true;
    if (sent > 0)
        down->start += (size_t)sent;
    else if (errno != EINTR)
        splice->is_local_gone = true;
}

static void pass_end_to_local(struct relay_splice *splice, bool *has_moved)
{
    struct relay_pipe *down = &splice->down;
    if (!down->has_read_end || down->has_passed_end || !is_empty(down))
        return;
    shutdown(splice->local, SHUT_WR);
    down->has_passed_end = true;
    *has_moved = true;
}

/* --- both --- */

bool relay_splice_move(struct relay_splice *splice, bool *has_moved, struct error *err)
{
    *has_moved = false;
    flush_peer(splice);
    if (!read_peer(splice, has_moved, err))
        return false;
    write_local(splice, has_moved);
    pass_end_to_local(splice, has_moved);
    if (!read_local(splice, has_moved, err))
        return false;
    write_peer(splice, has_moved);
    pass_end_to_peer(splice, has_moved);
    flush_peer(splice);
    return true;
}

bool relay_splice_has_ended(const struct relay_splice *splice)
{
    return splice->up.has_passed_end && splice->down.has_passed_end;
}

static short local_events(const struct relay_splice *splice)
{
    bool wants_read = splice->is_local_unreadable && wants_local(splice);
    bool wants_write = splice->is_local_unwritable && !is_empty(&splice->down);
    return (short)((wants_read ? POLLIN : 0) | (wants_write ? POLLOUT : 0));
}

static short peer_events(const struct relay_splice *splice)
{
    bool wants_read = splice->is_peer_unreadable && wants_more(&splice->down);
    /* after its orderly end only closing can follow: then it takes nothing any more */
    bool awaits_close = splice->down.has_read_end;
    return (short)((wants_read ? POLLIN : 0) | (splice->is_peer_unwritable ? POLLOUT : 0) |
                   (awaits_close ? POLLRDHUP : 0));
}

/* A hang-up is told even where nothing is asked: then the next try finds out what it is. */
static void note_local(struct relay_splice *splice, short events)
{
    if (events & (POLLHUP | POLLERR)) {
        splice->is_local_gone = true;
        splice->is_local_unreadable = splice->is_local_unwritable = false;
    }
    if (events & POLLIN)
        splice->is_local_unreadable = false;
    if (events & POLLOUT)
        splice->is_local_unwritable = false;
}

static void note_peer(struct relay_splice *splice, short events)
{
    if (events & (POLLHUP | POLLERR | POLLRDHUP))
        note_write(splice, STREAM_FAILED);
    if (events & (POLLIN | POLLOUT)) /* reading can have waited for room to answer in */
        splice->is_peer_unreadable = false;
    if (events & POLLOUT)
        splice->is_peer_unwritable = false;
}

void relay_splice_wait(struct relay_splice *splice, int timeout_ms)
{
    if (splice->is_throttled) {
        int refilled_ms = token_bucket_wait_ms(&splice->bucket, splice->up.end - splice->up.start);
        if (timeout_ms < 0 || refilled_ms < timeout_ms)
            timeout_ms = refilled_ms;
    }
    /* a side that is known to be gone would only wake us again and again */
    struct pollfd fds[] = {
        {.fd = splice->is_local_gone ? -1 : splice->local, .events = local_events(splice)},
        {.fd = splice->is_peer_gone ? -1 : splice->stream->fd, .events = peer_events(splice)},
        {.fd = splice->stream->wake_fd, .events = POLLIN},
    };
    if (poll(fds, 3, timeout_ms) <= 0)
        return;
    note_local(splice, fds[0].revents);
    note_peer(splice, fds[1].revents);
}
