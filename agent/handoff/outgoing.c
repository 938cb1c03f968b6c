/* The source's end of one memory stream; see outgoing.h. */
#include "agent/handoff/outgoing.h"

#include "agent/handoff/sync.h"
#include "agent/handoff/tail.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/memory.h"

#include <errno.h>
#include <string.h>

enum {
    WRITE_LIMIT_MS = 60000, /* for one frame: a destination that is slow to build the domain */
    WATCH_INTERVAL_MS = 200,
    HEARD_PUMPED = 1 << 0, /* no frame has type 0 */
};

struct outgoing {
    struct link_stream *stream;
    pthread_mutex_t write_mutex; /* the pump and the owner write */
    pthread_mutex_t mutex;       /* guards what follows */
    pthread_cond_t changed;
    unsigned heard; /* bits 1 << type, and HEARD_PUMPED */
    int64_t last_heard_ms;
    bool is_suspended, is_stopping;
    bool has_failed, was_abandoned;
    struct error failure;

    pthread_t pump, reader, watcher;
    bool has_pump;
    int pipe;         /* the pump's */
    struct tail tail; /* the pump's until HEARD_PUMPED */
};

static void fail(struct outgoing *outgoing, const struct error *why, bool was_abandoned)
{
    pthread_mutex_lock(&outgoing->mutex);
    outgoing->was_abandoned = outgoing->was_abandoned || was_abandoned;
    if (!outgoing->has_failed) {
        outgoing->has_failed = true;
        outgoing->failure = *why;
    }
    pthread_cond_broadcast(&outgoing->changed);
    pthread_mutex_unlock(&outgoing->mutex);
    link_shutdown(outgoing->stream);
}

void outgoing_fail(struct outgoing *outgoing, const struct error *why)
{
    fail(outgoing, why, false);
}

bool outgoing_failure(struct outgoing *outgoing, struct error *err)
{
    pthread_mutex_lock(&outgoing->mutex);
    if (outgoing->has_failed)
        *err = outgoing->failure;
    pthread_mutex_unlock(&outgoing->mutex);
    return false;
}

/* -- reader */

static bool take_failure(struct outgoing *outgoing, const struct frame *frame, struct error *err)
{
    char payload[FRAME_FAILURE_LIMIT];
    struct error failure;
    if (!link_read_all(outgoing->stream, payload, frame->size, WRITE_LIMIT_MS, err))
        return false;
    if (!frame_decode_failure(payload, frame->size, &failure, err))
        return false;
    error_prefix(&failure, "the destination gave up");
    fail(outgoing, &failure, true);
    *err = failure;
    return false;
}

static bool take_frame(struct outgoing *outgoing, const struct frame *frame, struct error *err)
{
    bool is_known = frame->type == FRAME_FLUSHED || frame->type == FRAME_PREPARED ||
                    frame->type == FRAME_RUNNING || frame->type == FRAME_ALIVE;
    if (frame->type == FRAME_FAILED)
        return take_failure(outgoing, frame, err);
    if (!is_known)
        return error_set(err, ERROR_INVALID, "unexpected %s frame", frame_type_name(frame->type));
    pthread_mutex_lock(&outgoing->mutex);
    outgoing->heard |= 1U << frame->type;
    outgoing->last_heard_ms = clock_monotonic_ms();
    pthread_cond_broadcast(&outgoing->changed);
    pthread_mutex_unlock(&outgoing->mutex);
    return true;
}

static void *run_reader(void *context)
{
    struct outgoing *outgoing = context;
    struct frame frame;
    struct error err;
    while (frame_read(outgoing->stream, -1, &frame, &err) && take_frame(outgoing, &frame, &err))
        ;
    error_prefix(&err, "memory stream");
    fail(outgoing, &err, false);
    return NULL;
}

/* -- watcher */

static bool is_silent(const struct outgoing *outgoing, int *limit_ms)
{
    *limit_ms = outgoing->is_suspended ? SILENCE_LIMIT_SUSPENDED_MS : SILENCE_LIMIT_LIVE_MS;
    return clock_monotonic_ms() - outgoing->last_heard_ms > *limit_ms;
}

static void *run_watcher(void *context)
{
    struct outgoing *outgoing = context;
    int limit_ms = 0;
    pthread_mutex_lock(&outgoing->mutex);
    while (!outgoing->is_stopping && !outgoing->has_failed && !is_silent(outgoing, &limit_ms))
        sync_wait_until(&outgoing->changed, &outgoing->mutex,
                        clock_monotonic_ms() + WATCH_INTERVAL_MS);
    bool is_over = outgoing->is_stopping || outgoing->has_failed;
    pthread_mutex_unlock(&outgoing->mutex);
    struct error err;
    if (!is_over) {
        error_set(&err, ERROR_UNREACHABLE, "the destination was silent for %d ms", limit_ms);
        fail(outgoing, &err, false);
    }
    return NULL;
}

/* -- pump */

/* Room in front of the data for a frame's header and the bytes held back. */
enum { ROOM = FRAME_HEADER_BYTES + TAIL_BYTES, CHUNK_BYTES = FRAME_DATA_LIMIT - TAIL_BYTES };

static bool write_frames(struct outgoing *outgoing, const unsigned char *data, size_t size,
                         struct error *err)
{
    pthread_mutex_lock(&outgoing->write_mutex);
    bool is_done = link_write_all(outgoing->stream, data, size, WRITE_LIMIT_MS, err);
    pthread_mutex_unlock(&outgoing->write_mutex);
    return is_done;
}

static bool pump_chunk(struct outgoing *outgoing, unsigned char *data, size_t size,
                       struct error *err)
{
    size_t passed = 0;
    const unsigned char *start = tail_pass(&outgoing->tail, data, size, &passed);
    if (passed == 0)
        return true;
    unsigned char *header = data - (data - start) - FRAME_HEADER_BYTES;
    frame_encode(FRAME_DATA, passed, header);
    return write_frames(outgoing, header, FRAME_HEADER_BYTES + passed, err);
}

static bool pump_all(struct outgoing *outgoing, unsigned char *buffer, struct error *err)
{
    for (;;) {
        ssize_t got = read(outgoing->pipe, buffer + ROOM, CHUNK_BYTES);
        if (got == 0)
            return true;
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return error_set_errno(err, ERROR_INTERNAL, errno, "reading the domain's stream");
        if (!pump_chunk(outgoing, buffer + ROOM, (size_t)got, err))
            return false;
    }
}

/* The pipe is closed at once after a failure, so that the hypervisor's save ends. */
static void *run_pump(void *context)
{
    struct outgoing *outgoing = context;
    auto_free unsigned char *buffer = memory_alloc(ROOM + CHUNK_BYTES);
    struct error err;
    bool is_done = pump_all(outgoing, buffer, &err);
    close(outgoing->pipe);
    if (!is_done) {
        error_prefix(&err, "memory stream");
        fail(outgoing, &err, false);
        return NULL;
    }
    pthread_mutex_lock(&outgoing->mutex);
    outgoing->heard |= HEARD_PUMPED;
    pthread_cond_broadcast(&outgoing->changed);
    pthread_mutex_unlock(&outgoing->mutex);
    return NULL;
}

/* -- the owner's calls */

struct outgoing *outgoing_start(struct link_stream *stream)
{
    struct outgoing *outgoing = memory_alloc(sizeof *outgoing);
    outgoing->stream = stream;
    outgoing->last_heard_ms = clock_monotonic_ms();
    pthread_mutex_init(&outgoing->mutex, NULL);
    pthread_mutex_init(&outgoing->write_mutex, NULL);
    sync_init_condition(&outgoing->changed);
    sync_start_thread(&outgoing->reader, run_reader, outgoing);
    sync_start_thread(&outgoing->watcher, run_watcher, outgoing);
    return outgoing;
}

void outgoing_stop(struct outgoing *outgoing)
{
    if (!outgoing)
        return;
    pthread_mutex_lock(&outgoing->mutex);
    outgoing->is_stopping = true;
    pthread_cond_broadcast(&outgoing->changed);
    pthread_mutex_unlock(&outgoing->mutex);
    link_shutdown(outgoing->stream);
    pthread_join(outgoing->reader, NULL);
    pthread_join(outgoing->watcher, NULL);
    if (outgoing->has_pump)
        pthread_join(outgoing->pump, NULL);
    link_close(outgoing->stream);
    pthread_cond_destroy(&outgoing->changed);
    pthread_mutex_destroy(&outgoing->write_mutex);
    pthread_mutex_destroy(&outgoing->mutex);
    free(outgoing);
}

bool outgoing_has_failed(struct outgoing *outgoing)
{
    pthread_mutex_lock(&outgoing->mutex);
    bool has_failed = outgoing->has_failed;
    pthread_mutex_unlock(&outgoing->mutex);
    return has_failed;
}

bool outgoing_was_abandoned(struct outgoing *outgoing)
{
    pthread_mutex_lock(&outgoing->mutex);
    bool was_abandoned = outgoing->was_abandoned;
    pthread_mutex_unlock(&outgoing->mutex);
    return was_abandoned;
}

bool outgoing_send(struct outgoing *outgoing, enum frame_type type, const void *payload,
                   size_t size, struct error *err)
{
    pthread_mutex_lock(&outgoing->write_mutex);
    bool is_done = frame_write(outgoing->stream, type, payload, size, WRITE_LIMIT_MS, err);
    pthread_mutex_unlock(&outgoing->write_mutex);
    return is_done || outgoing_failure(outgoing, err);
}

void outgoing_pump(struct outgoing *outgoing, int fd)
{
    outgoing->pipe = fd;
    outgoing->has_pump = true;
    sync_start_thread(&outgoing->pump, run_pump, outgoing);
}

void outgoing_suspended(struct outgoing *outgoing)
{
    pthread_mutex_lock(&outgoing->mutex);
    outgoing->is_suspended = true;
    outgoing->last_heard_ms = clock_monotonic_ms();
    pthread_mutex_unlock(&outgoing->mutex);
}

/* What was heard counts even if the stream has failed since. */
static bool wait_for(struct outgoing *outgoing, unsigned what, int timeout_ms, struct error *err)
{
    int64_t deadline = clock_monotonic_ms() + timeout_ms;
    bool is_in_time = true;
    pthread_mutex_lock(&outgoing->mutex);
    while (!(outgoing->heard & what) && !outgoing->has_failed && is_in_time)
        is_in_time = sync_wait_until(&outgoing->changed, &outgoing->mutex, deadline);
    bool is_heard = outgoing->heard & what;
    if (!is_heard && outgoing->has_failed)
        *err = outgoing->failure;
    else if (!is_heard)
        error_set(err, ERROR_TIMEOUT, "nothing came within %d ms", timeout_ms);
    pthread_mutex_unlock(&outgoing->mutex);
    return is_heard;
}

bool outgoing_wait(struct outgoing *outgoing, enum frame_type type, int timeout_ms,
                   struct error *err)
{
    return wait_for(outgoing, 1U << type, timeout_ms, err) ||
           error_prefix(err, "waiting for %s", frame_type_name(type));
}

bool outgoing_wait_pumped(struct outgoing *outgoing, int timeout_ms, struct error *err)
{
    return wait_for(outgoing, HEARD_PUMPED, timeout_ms, err) ||
           error_prefix(err, "sending the memory");
}

bool outgoing_release_tail(struct outgoing *outgoing, struct error *err)
{
    unsigned char frames[2 * FRAME_HEADER_BYTES + TAIL_BYTES];
    size_t size = outgoing->tail.size;
    if (size == 0)
        return error_set(err, ERROR_INTERNAL, "the domain's stream is empty");
    frame_encode(FRAME_DATA, size, frames);
    memcpy(frames + FRAME_HEADER_BYTES, outgoing->tail.bytes, size);
    frame_encode(FRAME_END, 0, frames + FRAME_HEADER_BYTES + size);
    size += 2 * (size_t)FRAME_HEADER_BYTES;
    return write_frames(outgoing, frames, size, err) || outgoing_failure(outgoing, err);
}
