/* Streams: a body that goes on until one side ends it.
 *
 * What is sent waits in the stream's own bounded memory. libmicrohttpd's thread takes it from there
 * whenever the socket has room; with nothing to take it suspends the connection, which then costs
 * neither a thread nor a place in a poll set, and the next send resumes it. A client whose socket
 * takes nothing for STALL_S is cut off by libmicrohttpd. */
#include "coordinator/http/server.h"

#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

enum {
    PENDING_SIZE = 64 << 10, /* bytes that wait for the socket */
    BLOCK_SIZE = 1024,       /* libmicrohttpd's buffer for clients of HTTP/1.0 */
    STALL_S = 30,
};

struct http_stream {
    struct http_server *server;
    http_stream_ready *ready;
    void *context;
    struct http_stream *next, *previous; /* under the server's lock */

    pthread_mutex_t lock;              /* guards everything below; the last one taken */
    struct MHD_Connection *connection; /* NULL: closed */
    struct buffer pending;
    int references; /* the exchange's and the opener's */
    bool is_suspended;
    bool is_ended;
    bool is_awaited; /* the opener found no room */
};

/* ---- the server's list ---- */

static void list_add(struct http_stream *stream)
{
    struct http_stream *head = stream->server->streams;
    stream->next = head;
    if (head)
        head->previous = stream;
    stream->server->streams = stream;
    stream->server->stream_count++;
}

static void list_remove(struct http_stream *stream)
{
    if (stream->previous)
        stream->previous->next = stream->next;
    else
        stream->server->streams = stream->next;
    if (stream->next)
        stream->next->previous = stream->previous;
    stream->server->stream_count--;
}

int http_streams(struct http_server *server)
{
    pthread_mutex_lock(&server->lock);
    int count = server->stream_count;
    pthread_mutex_unlock(&server->lock);
    return count;
}

/* ---- the opener's side ---- */

static void release(struct http_stream *stream)
{
    pthread_mutex_lock(&stream->lock);
    bool is_last = --stream->references == 0;
    pthread_mutex_unlock(&stream->lock);
    if (!is_last)
        return;
    buffer_done(&stream->pending);
    pthread_mutex_destroy(&stream->lock);
    free(stream);
}

bool http_stream_open(struct http_request *request, http_stream_ready *ready, void *context,
                      struct http_stream **out, struct error *err)
{
    struct http_exchange *exchange = request->connection;
    struct http_server *server = exchange->server;
    struct http_stream *stream = memory_alloc(sizeof *stream);
    stream->server = server;
    stream->ready = ready;
    stream->context = context;
    stream->connection = exchange->connection;
    stream->references = 2;
    pthread_mutex_init(&stream->lock, NULL);
    buffer_init(&stream->pending, PENDING_SIZE);
    pthread_mutex_lock(&server->lock);
    bool is_stopping = server->is_stopping;
    bool is_taken = !is_stopping && server->stream_count < server->stream_limit;
    if (is_taken)
        list_add(stream);
    pthread_mutex_unlock(&server->lock);
    if (!is_taken) {
        pthread_mutex_destroy(&stream->lock);
        free(stream);
        return error_set(err, ERROR_UNREACHABLE, "%s",
                         is_stopping ? "The coordinator is stopping"
                                     : "There are too many streams at this coordinator");
    }
    exchange->stream = stream;
    *out = stream;
    return true;
}

/* Called locked. */
static void resume(struct http_stream *stream)
{
    if (!stream->is_suspended)
        return;
    stream->is_suspended = false;
    MHD_resume_connection(stream->connection);
}

bool http_stream_send(struct http_stream *stream, const char *data, size_t size)
{
    struct error full;
    pthread_mutex_lock(&stream->lock);
    bool is_open = stream->connection && !stream->is_ended;
    bool is_taken = is_open && buffer_append(&stream->pending, data, size, &full);
    if (is_taken)
        resume(stream);
    else
        stream->is_awaited = is_open;
    pthread_mutex_unlock(&stream->lock);
    return is_taken;
}

/* Called locked. */
static bool is_half_empty(const struct http_stream *stream)
{
    return stream->pending.size <= PENDING_SIZE / 2;
}

bool http_stream_has_room(struct http_stream *stream)
{
    pthread_mutex_lock(&stream->lock);
    bool has_room = is_half_empty(stream);
    pthread_mutex_unlock(&stream->lock);
    return has_room;
}

bool http_stream_is_open(struct http_stream *stream)
{
    pthread_mutex_lock(&stream->lock);
    bool is_open = stream->connection && !stream->is_ended;
    pthread_mutex_unlock(&stream->lock);
    return is_open;
}

static void end(struct http_stream *stream)
{
    pthread_mutex_lock(&stream->lock);
    stream->is_ended = true;
    resume(stream);
    pthread_mutex_unlock(&stream->lock);
}

void http_stream_end(struct http_stream *stream)
{
    end(stream);
    release(stream);
}

/* ---- libmicrohttpd's side ---- */

/* Called locked. An idle stream keeps no memory. */
static size_t take_pending(struct http_stream *stream, char *out, size_t room)
{
    size_t size = stream->pending.size < room ? stream->pending.size : room;
    memcpy(out, stream->pending.data, size);
    if (size == stream->pending.size)
        buffer_done(&stream->pending);
    else
        buffer_consume(&stream->pending, size);
    return size;
}

static ssize_t read_stream(void *context, uint64_t position, char *out, size_t room)
{
    (void)position;
    struct http_stream *stream = context;
    ssize_t taken = 0;
    pthread_mutex_lock(&stream->lock);
    if (stream->pending.size) {
        taken = (ssize_t)take_pending(stream, out, room);
    } else if (stream->is_ended) {
        taken = MHD_CONTENT_READER_END_OF_STREAM;
    } else {
        stream->is_suspended = true;
        MHD_suspend_connection(stream->connection);
    }
    bool is_ready = stream->is_awaited && is_half_empty(stream);
    if (is_ready)
        stream->is_awaited = false;
    pthread_mutex_unlock(&stream->lock);
    if (is_ready)
        stream->ready(stream->context);
    return taken;
}

struct MHD_Response *http_stream_response(struct http_stream *stream)
{
    http_connection_streams(stream->connection, true);
    (void)MHD_set_connection_option(stream->connection, MHD_CONNECTION_OPTION_TIMEOUT,
                                    (unsigned int)STALL_S);
    return MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK_SIZE, read_stream, stream,
                                             NULL);
}

void http_stream_closed(struct http_stream *stream)
{
    struct http_server *server = stream->server;
    pthread_mutex_lock(&server->lock);
    list_remove(stream);
    pthread_mutex_unlock(&server->lock);
    http_connection_streams(stream->connection, false);
    pthread_mutex_lock(&stream->lock);
    stream->connection = NULL;
    pthread_mutex_unlock(&stream->lock);
    stream->ready(stream->context);
    release(stream);
}

void http_streams_end(struct http_server *server)
{
    pthread_mutex_lock(&server->lock);
    for (struct http_stream *stream = server->streams; stream; stream = stream->next)
        end(stream);
    pthread_mutex_unlock(&server->lock);
}
