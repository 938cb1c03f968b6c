/* The accepting side: one thread accepts, and each connection has a thread that opens the stream
 * within a time limit and then runs `on_stream`. Connections that have not proved who they are have
 * a limit of their own, and the oldest of them gives way: a host needs milliseconds for its
 * opening, so silent ones cannot keep it out. */
#include "agent/link/hello.h"
#include "agent/link/socket.h"
#include "agent/link/stream.h"
#include "agent/link/tls.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>

enum {
    STREAMS_LIMIT = 512,    /* connections in all, the unproved ones included */
    OPENING_LIMIT = 64,     /* connections whose hello is not read yet */
    OPENING_TIME_MS = 5000, /* for TLS and the hello */
    ANSWER_TIME_MS = 5000,  /* to send the answer line */
    FAREWELL_MS = 500,      /* for a refused peer to read why */
    PAUSE_MS = 100,         /* after accept failed for lack of descriptors */
};

struct visitor { /* one connection and its thread */
    struct link_server *server;
    struct link_stream *stream;
    pthread_t thread;
    bool is_opening;  /* its hello is not read yet; the stream is certainly there */
    bool is_finished; /* its thread does nothing more and can be joined */
    struct visitor *next;
};

struct link_server {
    int listen_fd, wake_fd, port;
    pthread_t thread;
    link_on_stream *on_stream;
    void *context;
    struct stream_set *streams;

    pthread_mutex_t lock; /* all below */
    SSL_CTX *tls;
    struct visitor *visitors;
    int opening;
};

/* --- one connection --- */

static void end_opening(struct visitor *visitor)
{
    pthread_mutex_lock(&visitor->server->lock);
    visitor->server->opening--;
    visitor->is_opening = false;
    pthread_mutex_unlock(&visitor->server->lock);
}

static bool open_stream(struct link_stream *stream, char host[UUID_SIZE], struct link_hello *hello,
                        int64_t deadline_ms, struct error *err)
{
    char line[HELLO_LIMIT];
    size_t size;
    if (!stream_handshake(stream, deadline_ms, err) || !tls_peer_host(stream->ssl, host, err))
        return false;
    if (stream_read_line(stream, line, sizeof line, &size, deadline_ms, err) &&
        hello_decode(line, size, hello, err))
        return true;
    if (err->code == ERROR_INVALID)
        link_refuse(stream, err);
    return error_prefix(err, "host %s", host);
}

/* Lets the peer read our alert or refusal: closing while it still sends would reset the connection
 * and could take the text with it. */
static void say_farewell(struct link_stream *stream)
{
    char ignored[4096];
    struct error err;
    int64_t deadline_ms = clock_monotonic_ms() + FAREWELL_MS;
    shutdown(stream->fd, SHUT_WR);
    while (stream_wait(stream, POLLIN, deadline_ms, &err) &&
           recv(stream->fd, ignored, sizeof ignored, 0) > 0)
        ;
}

static void *serve_visitor(void *argument)
{
    struct visitor *visitor = argument;
    struct link_server *server = visitor->server;
    struct link_stream *stream = visitor->stream;
    struct error err;
    char host[UUID_SIZE];
    struct link_hello hello;
    bool is_open = open_stream(stream, host, &hello, stream_deadline(OPENING_TIME_MS), &err);
    end_opening(visitor);
    if (is_open) {
        server->on_stream(server->context, stream, host, &hello);
    } else {
        if (err.code != ERROR_CANCELLED)
            log_warning("link: refused %s: %s", stream->peer, err.text);
        say_farewell(stream);
        link_shutdown(stream);
        link_close(stream);
    }
    pthread_mutex_lock(&server->lock);
    visitor->is_finished = true;
    pthread_mutex_unlock(&server->lock);
    return NULL;
}

bool link_accept(struct link_stream *stream, struct error *err)
{
    char line[ANSWER_LIMIT + 1];
    hello_encode_answer(NULL, line);
    return stream_write_line(stream, line, stream_deadline(ANSWER_TIME_MS), err) ||
           stream_spoil(stream, err);
}

void link_refuse(struct link_stream *stream, const struct error *why)
{
    struct error ignored; /* a peer that cannot be told sees the stream end */
    char line[ANSWER_LIMIT + 1];
    hello_encode_answer(why, line);
    if (!stream_write_line(stream, line, stream_deadline(ANSWER_TIME_MS), &ignored))
        stream_spoil(stream, &ignored);
}

/* --- accepting --- */

/* With the lock held: makes room among the openings. */
static void drop_oldest_opening(struct link_server *server)
{
    struct visitor *oldest = NULL;
    for (struct visitor *visitor = server->visitors; visitor; visitor = visitor->next)
        if (visitor->is_opening && !atomic_load(&visitor->stream->is_shut_down))
            oldest = visitor; /* the newest stand first */
    if (!oldest)
        return;
    log_warning("link: %d connections are being opened; %s, the oldest, is dropped",
                server->opening, oldest->stream->peer);
    link_shutdown(oldest->stream);
}

static bool start_thread(struct link_server *server, struct link_stream *stream, struct error *err)
{
    struct visitor *visitor = memory_alloc(sizeof *visitor);
    visitor->server = server;
    visitor->stream = stream;
    visitor->is_opening = true;
    pthread_mutex_lock(&server->lock);
    if (server->opening >= OPENING_LIMIT)
        drop_oldest_opening(server);
    int failure = pthread_create(&visitor->thread, NULL, serve_visitor, visitor);
    if (failure == 0) {
        server->opening++;
        visitor->next = server->visitors;
        server->visitors = visitor;
    }
    pthread_mutex_unlock(&server->lock);
    if (failure == 0)
        return true;
    free(visitor);
    return error_set_errno(err, ERROR_NO_SPACE, failure, "starting a thread");
}

static SSL_CTX *current_tls(struct link_server *server)
{
    pthread_mutex_lock(&server->lock);
    SSL_CTX *tls = server->tls;
    SSL_CTX_up_ref(tls);
    pthread_mutex_unlock(&server->lock);
    return tls;
}

static bool admit(struct link_server *server, int fd, const char *peer, struct error *err)
{
    struct link_stream *stream = NULL;
    SSL_CTX *tls = current_tls(server);
    socket_tune(fd);
    bool is_open = stream_open(&stream, fd, tls, peer, err);
    SSL_CTX_free(tls);
    if (is_open && stream_set_add(server->streams, stream, err) &&
        start_thread(server, stream, err))
        return true;
    link_close(stream);
    return false;
}

/* Joins the threads that are done; all = true: every thread, as it ends. */
static void join_visitors(struct link_server *server, bool all)
{
    struct visitor *gone = NULL;
    pthread_mutex_lock(&server->lock);
    for (struct visitor **link = &server->visitors; *link;) {
        struct visitor *visitor = *link;
        if (!all && !visitor->is_finished) {
            link = &visitor->next;
            continue;
        }
        *link = visitor->next;
        visitor->next = gone;
        gone = visitor;
    }
    pthread_mutex_unlock(&server->lock);
    while (gone) {
        struct visitor *next = gone->next;
        pthread_join(gone->thread, NULL);
        free(gone);
        gone = next;
    }
}

static void accept_one(struct link_server *server)
{
    union socket_address from = {0};
    socklen_t size = sizeof from;
    char peer[96];
    struct error err;
    int fd = accept4(server->listen_fd, &from.any, &size, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) {
        bool is_short = errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS;
        if (is_short)
            clock_sleep_ms(PAUSE_MS); /* the connection stays in the backlog */
        return;
    }
    socket_describe(&from, peer, sizeof peer);
    if (!admit(server, fd, peer, &err))
        log_warning("link: turned %s away: %s", peer, err.text);
}

static void *accept_all(void *argument)
{
    struct link_server *server = argument;
    struct pollfd fds[] = {{.fd = server->listen_fd, .events = POLLIN},
                           {.fd = server->wake_fd, .events = POLLIN}};
    while (fds[1].revents == 0) {
        if (poll(fds, 2, -1) < 0)
            continue;
        if (fds[0].revents)
            accept_one(server);
        join_visitors(server, false);
    }
    return NULL;
}

/* --- life --- */

static bool listen_tcp(struct link_server *server, const char *address, int port, struct error *err)
{
    union socket_address at;
    socklen_t size;
    if (!socket_parse(address, port, &at, &size, err))
        return false;
    int fd = socket(at.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    server->listen_fd = fd;
    int yes = 1;
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) < 0 ||
        bind(fd, &at.any, size) < 0 || listen(fd, OPENING_LIMIT) < 0 ||
        getsockname(fd, &at.any, &size) < 0)
        return error_set_errno(err, ERROR_UNREACHABLE, errno, "listening on %s port %d", address,
                               port);
    bool is_v4 = at.any.sa_family == AF_INET;
    server->port = ntohs(is_v4 ? at.v4.sin_port : at.v6.sin6_port);
    return true;
}

static void free_server(struct link_server *server)
{
    if (server->listen_fd >= 0)
        close(server->listen_fd);
    if (server->wake_fd >= 0)
        close(server->wake_fd);
    SSL_CTX_free(server->tls);
    stream_set_release(server->streams);
    pthread_mutex_destroy(&server->lock);
    free(server);
}

static bool start_server(struct link_server *server, const char *address, int port,
                         const struct link_files *files, struct error *err)
{
    if (!tls_context_new(&server->tls, TLS_ACCEPTS, files, err) ||
        !listen_tcp(server, address, port, err))
        return false;
    server->wake_fd = eventfd(0, EFD_CLOEXEC);
    if (server->wake_fd < 0)
        return error_set_errno(err, ERROR_INTERNAL, errno, "eventfd");
    int failure = pthread_create(&server->thread, NULL, accept_all, server);
    return failure == 0 || error_set_errno(err, ERROR_INTERNAL, failure, "starting a thread");
}

bool link_listen(struct link_server **out, const char *address, int port,
                 const struct link_files *files, link_on_stream *on_stream, void *context,
                 struct error *err)
{
    struct link_server *server = memory_alloc(sizeof *server);
    server->listen_fd = server->wake_fd = -1;
    server->on_stream = on_stream;
    server->context = context;
    server->streams = stream_set_new(STREAMS_LIMIT);
    pthread_mutex_init(&server->lock, NULL);
    if (!start_server(server, address, port, files, err)) {
        free_server(server);
        return error_prefix(err, "link");
    }
    *out = server;
    return true;
}

int link_server_port(const struct link_server *server)
{
    return server->port;
}

bool link_server_renew(struct link_server *server, const struct link_files *files,
                       struct error *err)
{
    SSL_CTX *renewed;
    if (!tls_context_new(&renewed, TLS_ACCEPTS, files, err))
        return error_prefix(err, "link");
    pthread_mutex_lock(&server->lock);
    SSL_CTX *old = server->tls;
    server->tls = renewed;
    pthread_mutex_unlock(&server->lock);
    SSL_CTX_free(old); /* open streams hold it until they close */
    return true;
}

void link_server_close(struct link_server *server)
{
    if (!server)
        return;
    uint64_t one = 1;
    while (write(server->wake_fd, &one, sizeof one) < 0 && errno == EINTR)
        ;
    pthread_join(server->thread, NULL);
    stream_set_close(server->streams);
    join_visitors(server, true);
    free_server(server);
}
