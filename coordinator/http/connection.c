/* Connections: how many there are, and how long a peer may take for what it has to send.
 * libmicrohttpd closes a connection that is silent; one that trickles is closed here. */
#include "coordinator/http/server.h"

#include "base/clock.h"
#include "base/memory.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

enum { SWEEP_S = 1 };

/* Of an IPv6 address the network part alone: one machine has 2^64 of the rest. */
static void describe(const struct sockaddr *address, char out[HTTP_ADDRESS_SIZE])
{
    out[0] = '\0';
    if (!address)
        return;
    if (address->sa_family == AF_INET)
        (void)inet_ntop(AF_INET, &((const struct sockaddr_in *)address)->sin_addr, out,
                        HTTP_ADDRESS_SIZE);
    if (address->sa_family != AF_INET6)
        return;
    struct in6_addr network = ((const struct sockaddr_in6 *)address)->sin6_addr;
    memset(network.s6_addr + 8, 0, 8);
    (void)inet_ntop(AF_INET6, &network, out, HTTP_ADDRESS_SIZE);
}

static struct http_connection *context_of(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info ? info->socket_context : NULL;
}

const char *http_connection_address(struct MHD_Connection *connection)
{
    const struct http_connection *own = context_of(connection);
    return own ? own->address : "";
}

struct http_peer *http_connection_peer(struct MHD_Connection *connection)
{
    struct http_connection *own = context_of(connection);
    return own ? &own->peer : NULL;
}

bool http_connection_use(struct MHD_Connection *connection)
{
    struct http_connection *own = context_of(connection);
    bool is_first = own && !own->is_used;
    if (own)
        own->is_used = true;
    return is_first;
}

/* Called locked. Where this is limited there are no thousands of them. */
static int count_from(const struct http_listener *listener, const struct sockaddr *address)
{
    char from[HTTP_ADDRESS_SIZE];
    int count = 0;
    describe(address, from);
    for (struct http_connection *other = listener->connections; other; other = other->next)
        count += !other->is_stream && strcmp(other->address, from) == 0;
    return count;
}

enum MHD_Result http_may_connect(void *context, const struct sockaddr *address, socklen_t size)
{
    (void)size;
    struct http_listener *listener = context;
    struct http_server *server = listener->server;
    pthread_mutex_lock(&server->connection_lock);
    bool is_full = listener->most_connections && listener->counted >= listener->most_connections;
    bool is_greedy = listener->most_per_address && !is_full &&
                     count_from(listener, address) >= listener->most_per_address;
    pthread_mutex_unlock(&server->connection_lock);
    if (!is_full && !is_greedy)
        return MHD_YES;
    http_count_refusal(server, is_full ? REFUSAL_CONNECTIONS : REFUSAL_ADDRESS);
    return MHD_NO;
}

static void opened(struct http_listener *listener, struct MHD_Connection *connection, void **state)
{
    struct http_server *server = listener->server;
    struct http_connection *own = memory_alloc(sizeof *own);
    const union MHD_ConnectionInfo *fd =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    const union MHD_ConnectionInfo *address =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    own->listener = listener;
    own->fd = fd ? fd->connect_fd : -1;
    describe(address ? address->client_addr : NULL, own->address);
    if (server->header_ms)
        own->deadline_ms = clock_monotonic_ms() + server->header_ms;
    pthread_mutex_lock(&server->connection_lock);
    own->next = listener->connections;
    if (own->next)
        own->next->previous = own;
    listener->connections = own;
    listener->counted++;
    pthread_mutex_unlock(&server->connection_lock);
    *state = own;
}

/* libmicrohttpd closes the socket only afterwards, so no descriptor that was used again is ever
 * shut down below. */
static void closed(struct http_server *server, void **state)
{
    struct http_connection *own = *state;
    if (!own)
        return;
    pthread_mutex_lock(&server->connection_lock);
    if (own->next)
        own->next->previous = own->previous;
    if (own->previous)
        own->previous->next = own->next;
    else
        own->listener->connections = own->next;
    own->listener->counted -= !own->is_stream;
    pthread_mutex_unlock(&server->connection_lock);
    free(own);
    *state = NULL;
}

void http_on_connection(void *context, struct MHD_Connection *connection, void **state,
                        enum MHD_ConnectionNotificationCode what)
{
    struct http_listener *listener = context;
    if (what == MHD_CONNECTION_NOTIFY_CLOSED) {
        closed(listener->server, state);
        return;
    }
    opened(listener, connection, state);
    if (listener->port == HTTP_AGENT_PORT)
        http_demand_certificate(listener->server, connection);
}

void http_connection_expect(struct MHD_Connection *connection, int within_ms)
{
    struct http_connection *own = context_of(connection);
    if (!own)
        return;
    pthread_mutex_lock(&own->listener->server->connection_lock);
    own->deadline_ms = within_ms ? clock_monotonic_ms() + within_ms : 0;
    pthread_mutex_unlock(&own->listener->server->connection_lock);
}

void http_connection_streams(struct MHD_Connection *connection, bool is_stream)
{
    struct http_connection *own = context_of(connection);
    if (!own)
        return;
    pthread_mutex_lock(&own->listener->server->connection_lock);
    own->listener->counted += own->is_stream - is_stream;
    own->is_stream = is_stream;
    pthread_mutex_unlock(&own->listener->server->connection_lock);
}

/* Called locked. libmicrohttpd reads the end and closes. */
static void end_slow(struct http_listener *listener, int64_t now_ms)
{
    for (struct http_connection *own = listener->connections; own; own = own->next) {
        if (!own->deadline_ms || own->deadline_ms > now_ms || own->fd < 0)
            continue;
        (void)shutdown(own->fd, SHUT_RDWR);
        own->deadline_ms = 0;
        http_count_refusal(listener->server, REFUSAL_SLOW);
    }
}

static void *watch(void *context)
{
    struct http_server *server = context;
    pthread_mutex_lock(&server->connection_lock);
    while (!server->is_watch_over) {
        int64_t now_ms = clock_monotonic_ms();
        for (int i = 0; i < HTTP_PORTS; i++)
            end_slow(&server->listeners[i], now_ms);
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += SWEEP_S;
        (void)pthread_cond_timedwait(&server->watch_changed, &server->connection_lock, &until);
    }
    pthread_mutex_unlock(&server->connection_lock);
    return NULL;
}

bool http_watch_start(struct http_server *server, struct error *err)
{
    int failed = pthread_create(&server->watcher, NULL, watch, server);
    if (failed)
        return error_set_errno(err, ERROR_INTERNAL, failed, "starting the watch of connections");
    server->has_watcher = true;
    return true;
}

void http_watch_stop(struct http_server *server)
{
    if (!server->has_watcher)
        return;
    pthread_mutex_lock(&server->connection_lock);
    server->is_watch_over = true;
    pthread_cond_signal(&server->watch_changed);
    pthread_mutex_unlock(&server->connection_lock);
    pthread_join(server->watcher, NULL);
}
