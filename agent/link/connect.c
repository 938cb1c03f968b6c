/* The connecting side of a stream: TCP, TLS, is it the host we mean, hello, answer. */
#include "agent/link/hello.h"
#include "agent/link/socket.h"
#include "agent/link/stream.h"
#include "agent/link/tls.h"
#include "base/cleanup.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

static void drop_context(SSL_CTX **context)
{
    SSL_CTX_free(*context);
}

static bool start_tcp(const char *address, int port, int *out, struct error *err)
{
    union socket_address to;
    socklen_t size;
    if (!socket_parse(address, port, &to, &size, err))
        return false;
    auto_close int fd = socket(to.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return error_set_errno(err, ERROR_INTERNAL, errno, "TCP socket");
    socket_tune(fd);
    if (connect(fd, &to.any, size) < 0 && errno != EINPROGRESS)
        return error_set_errno(err, ERROR_UNREACHABLE, errno, "TCP connection");
    *out = take_fd(&fd);
    return true;
}

static bool finish_tcp(struct link_stream *stream, int64_t deadline_ms, struct error *err)
{
    int failure = 0;
    socklen_t size = sizeof failure;
    if (!stream_wait(stream, POLLOUT, deadline_ms, err))
        return false;
    if (getsockopt(stream->fd, SOL_SOCKET, SO_ERROR, &failure, &size) < 0)
        failure = errno;
    return failure == 0 || error_set_errno(err, ERROR_UNREACHABLE, failure, "TCP connection");
}

static bool demand_host(struct link_stream *stream, const char *expected, struct error *err)
{
    char host[UUID_SIZE];
    if (!tls_peer_host(stream->ssl, host, err))
        return false;
    return strcmp(host, expected) == 0 ||
           error_set(err, ERROR_REFUSED, "peer is host %s, expected %s", host, expected);
}

/* *is_refusal: the peer's agent answered, and `err` is its own. */
static bool open_stream(struct link_stream *stream, const char *host,
                        const struct link_hello *hello, int64_t deadline_ms, bool *is_refusal,
                        struct error *err)
{
    char line[HELLO_LIMIT + 1], answer[ANSWER_LIMIT];
    size_t size;
    hello_encode(hello, line);
    if (!finish_tcp(stream, deadline_ms, err) || !stream_handshake(stream, deadline_ms, err) ||
        !demand_host(stream, host, err) || !stream_write_line(stream, line, deadline_ms, err) ||
        !stream_read_line(stream, answer, sizeof answer, &size, deadline_ms, err))
        return false;
    *is_refusal = true;
    return hello_decode_answer(answer, size, err);
}

bool link_connect(struct link_stream **out, const char *host, const char *address, int port,
                  const struct link_files *files, const struct link_hello *hello, int timeout_ms,
                  struct error *err)
{
    int64_t deadline_ms = stream_deadline(timeout_ms);
    __attribute__((cleanup(drop_context))) SSL_CTX *context = NULL;
    char peer[96];
    snprintf(peer, sizeof peer, "%.64s port %d", address, port);
    int fd;
    if (!tls_context_new(&context, TLS_CONNECTS, files, err))
        return false;
    if (!start_tcp(address, port, &fd, err))
        return error_prefix(err, "link to %s", peer);
    struct link_stream *stream;
    if (!stream_open(&stream, fd, context, peer, err))
        return error_prefix(err, "link to %s", peer);
    bool is_refusal = false;
    if (!open_stream(stream, host, hello, deadline_ms, &is_refusal, err)) {
        link_shutdown(stream); /* no orderly end of what never began */
        link_close(stream);
        return is_refusal ? false : error_prefix(err, "link to %s", peer);
    }
    *out = stream;
    return true;
}
