/* The part of a stream that never waits: TLS between our buffers and the socket; see stream.h. */
#include "agent/link/stream.h"

#include "agent/link/tls.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { RECORD_BYTES = SSL3_RT_MAX_PLAIN_LENGTH };
/* AES-GCM keeps its margin up to 2^24.5 full records of one key (RFC 8446, 5.5). */
#define RECORDS_PER_KEY (UINT64_C(1) << 23)

/* --- the BIO between OpenSSL and the socket --- */

static int transport_write(BIO *bio, const char *data, int size)
{
    struct link_stream *stream = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (stream->outgoing_start == stream->outgoing_end)
        stream->outgoing_start = stream->outgoing_end = 0;
    if (size < 0 || (size_t)size > STREAM_OUTGOING - stream->outgoing_end) {
        BIO_set_retry_write(bio);
        return -1;
    }
    memcpy(stream->outgoing + stream->outgoing_end, data, (size_t)size);
    stream->outgoing_end += (size_t)size;
    return size;
}

static int transport_read(BIO *bio, char *data, int size)
{
    struct link_stream *stream = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    ssize_t got;
    do
        got = recv(stream->fd, data, (size_t)size, 0);
    while (got < 0 && errno == EINTR);
    if (got >= 0) {
        stream->has_socket_ended = got == 0;
        return (int)got;
    }
    if (errno == EAGAIN)
        BIO_set_retry_read(bio);
    else
        stream->socket_errno = errno;
    return -1;
}

static long transport_control(BIO *bio, int command, long number, void *pointer)
{
    (void)number, (void)pointer;
    const struct link_stream *stream = BIO_get_data(bio);
    if (command == BIO_CTRL_EOF)
        return stream->has_socket_ended;
    return command == BIO_CTRL_FLUSH;
}

static int transport_create(BIO *bio)
{
    BIO_set_init(bio, 1);
    return 1;
}

static BIO_METHOD *transport;
static void make_transport(void)
{
    transport = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "crosspool link");
    if (!transport || !BIO_meth_set_write(transport, transport_write) ||
        !BIO_meth_set_read(transport, transport_read) ||
        !BIO_meth_set_ctrl(transport, transport_control) ||
        !BIO_meth_set_create(transport, transport_create))
        abort(); /* out of memory */
}

bool stream_attach_tls(struct link_stream *stream, SSL_CTX *context)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_transport);
    stream->ssl = SSL_new(context);
    BIO *bio = BIO_new(transport);
    if (!stream->ssl || !bio) {
        BIO_free(bio);
        return false;
    }
    stream->records_per_key = stream->records_left = RECORDS_PER_KEY;
    BIO_set_data(bio, stream);
    SSL_set_bio(stream->ssl, bio, bio);
    if (SSL_is_server(stream->ssl))
        SSL_set_accept_state(stream->ssl);
    else
        SSL_set_connect_state(stream->ssl);
    return true;
}

/* --- operations; below, the caller holds the lock --- */

/* What is still to be sent may be an alert that tells the peer why: one try for it. */
static void send_alert(struct link_stream *stream)
{
    if (!stream->has_write_failed && stream->outgoing_start < stream->outgoing_end)
        (void)!send(stream->fd, stream->outgoing + stream->outgoing_start,
                    stream->outgoing_end - stream->outgoing_start, MSG_NOSIGNAL);
}

static enum stream_io fail(struct link_stream *stream, struct error *err)
{
    if (!stream->has_failed) {
        if (stream->socket_errno)
            error_set_errno(&stream->failure, ERROR_UNREACHABLE, stream->socket_errno,
                            "the peer went away");
        else
            tls_explain(stream->ssl, &stream->failure);
        stream->has_failed = true;
        send_alert(stream);
    }
    ERR_clear_error();
    *err = stream->failure;
    return STREAM_FAILED;
}

static enum stream_io fail_write(const struct link_stream *stream, struct error *err)
{
    *err = stream->write_failure;
    return STREAM_FAILED;
}

static enum stream_io send_outgoing(struct link_stream *stream, struct error *err)
{
    if (stream->has_write_failed)
        return fail_write(stream, err);
    while (stream->outgoing_start < stream->outgoing_end) {
        ssize_t sent = send(stream->fd, stream->outgoing + stream->outgoing_start,
                            stream->outgoing_end - stream->outgoing_start, MSG_NOSIGNAL);
        if (sent > 0) {
            stream->outgoing_start += (size_t)sent;
            continue;
        }
        if (errno == EAGAIN)
            return STREAM_AGAIN;
        if (errno == EINTR)
            continue;
        error_set_errno(&stream->write_failure, ERROR_UNREACHABLE, errno, "the peer went away");
        stream->has_write_failed = true;
        return fail_write(stream, err);
    }
    return STREAM_DONE;
}

/* After a read that brought nothing. */
static enum stream_io why_unread(struct link_stream *stream, struct error *err)
{
    switch (SSL_get_error(stream->ssl, 0)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE: /* an answer of TLS itself found no room: after the next flush */
        return STREAM_AGAIN;
    case SSL_ERROR_ZERO_RETURN:
        return STREAM_END;
    default:
        return fail(stream, err);
    }
}

static enum stream_io read_records(struct link_stream *stream, char *data, size_t size, size_t *got,
                                   struct error *err)
{
    size_t total = 0, count;
    ERR_clear_error();
    while (total < size && SSL_read_ex(stream->ssl, data + total, size - total, &count) == 1)
        total += count;
    enum stream_io io = total == size ? STREAM_DONE : why_unread(stream, err);
    if (total == 0)
        return io;
    *got = total; /* a failure behind these bytes is kept for the next call */
    return STREAM_DONE;
}

enum stream_io stream_try_read(struct link_stream *stream, void *data, size_t size, size_t *got,
                               struct error *err)
{
    pthread_mutex_lock(&stream->lock);
    enum stream_io result =
        stream->has_failed ? fail(stream, err) : read_records(stream, data, size, got, err);
    pthread_mutex_unlock(&stream->lock);
    return result;
}

/* Counts what the key protects and replaces it in time. */
static bool spend_records(struct link_stream *stream, size_t size)
{
    uint64_t records = (size + RECORD_BYTES - 1) / RECORD_BYTES;
    if (records <= stream->records_left) {
        stream->records_left -= records;
        return true;
    }
    stream->records_left = stream->records_per_key;
    return SSL_key_update(stream->ssl, SSL_KEY_UPDATE_NOT_REQUESTED) == 1;
}

static enum stream_io write_records(struct link_stream *stream, const char *data, size_t size,
                                    size_t *taken, struct error *err)
{
    enum stream_io flushed = send_outgoing(stream, err);
    if (flushed != STREAM_DONE)
        return flushed;
    ERR_clear_error();
    size_t limit = size < STREAM_BATCH ? size : STREAM_BATCH, total = 0, count;
    if (!spend_records(stream, limit))
        return fail(stream, err);
    while (total < limit && SSL_write_ex(stream->ssl, data + total, limit - total, &count) == 1)
        total += count;
    if (total < limit)
        return fail(stream, err); /* `outgoing` was empty, so room cannot have been the reason */
    enum stream_io sent = send_outgoing(stream, err);
    if (sent == STREAM_FAILED)
        return sent;
    *taken = total;
    return STREAM_DONE;
}

enum stream_io stream_try_write(struct link_stream *stream, const void *data, size_t size,
                                size_t *taken, struct error *err)
{
    pthread_mutex_lock(&stream->lock);
    enum stream_io result =
        stream->has_failed ? fail(stream, err) : write_records(stream, data, size, taken, err);
    pthread_mutex_unlock(&stream->lock);
    return result;
}

enum stream_io stream_try_flush(struct link_stream *stream, struct error *err)
{
    pthread_mutex_lock(&stream->lock);
    enum stream_io result = stream->has_failed ? fail(stream, err) : send_outgoing(stream, err);
    pthread_mutex_unlock(&stream->lock);
    return result;
}

enum stream_io stream_try_end(struct link_stream *stream, struct error *err)
{
    pthread_mutex_lock(&stream->lock);
    enum stream_io result = STREAM_DONE;
    ERR_clear_error();
    bool is_sent = SSL_get_shutdown(stream->ssl) & SSL_SENT_SHUTDOWN;
    if (stream->has_failed || (!is_sent && SSL_shutdown(stream->ssl) < 0))
        result = fail(stream, err);
    pthread_mutex_unlock(&stream->lock);
    return result;
}

enum stream_io stream_try_handshake(struct link_stream *stream, struct error *err)
{
    pthread_mutex_lock(&stream->lock);
    ERR_clear_error();
    int result = SSL_do_handshake(stream->ssl);
    enum stream_io io = STREAM_DONE;
    if (result != 1)
        io = SSL_get_error(stream->ssl, result) == SSL_ERROR_WANT_READ ? STREAM_AGAIN
                                                                       : fail(stream, err);
    pthread_mutex_unlock(&stream->lock);
    return io;
}

bool stream_has_outgoing(struct link_stream *stream)
{
    pthread_mutex_lock(&stream->lock);
    bool is_pending = stream->outgoing_start < stream->outgoing_end;
    pthread_mutex_unlock(&stream->lock);
    return is_pending;
}

bool stream_spoil(struct link_stream *stream, const struct error *why)
{
    pthread_mutex_lock(&stream->lock);
    if (!stream->has_failed)
        stream->failure = *why;
    stream->has_failed = true;
    pthread_mutex_unlock(&stream->lock);
    return false;
}
