/* A TLS listener: the socket, and libmicrohttpd's daemon with its limits. */
#include "coordinator/http/server.h"

#include "base/cleanup.h"
#include "base/log.h"

#include <ctype.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    /* They only read and write. Whenever one connection is resumed, libmicrohttpd looks at all the
     * suspended ones of its thread, so thousands of parked polls are divided among many. */
    IO_THREADS = 2,
    AGENT_IO_THREADS = 64,
    HEADER_MEMORY = 32 << 10,
    AGENT_HEADER_MEMORY = 8 << 10, /* of agents, whose headers are few */
    IDLE_TIMEOUT_S = 60,
    /* of the library, split between its threads; ours are counted in connection.c and are below */
    MOST_CONNECTIONS = 2 * LIMITS_CONNECTIONS, /* besides those that streams hold */
    BACKLOG = 4096,
};

static const char *const priorities[HTTP_PORTS] = {
    "SECURE128:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2",
    "SECURE128:-VERS-ALL:+VERS-TLS1.3",
};

__attribute__((format(printf, 2, 0))) static void log_library(void *context, const char *fmt,
                                                              va_list args)
{
    (void)context;
    char text[256];
    vsnprintf(text, sizeof text, fmt, args);
    text[strcspn(text, "\n")] = '\0';
    log_debug("http: %s", text); /* mostly peers that went away in a handshake */
}

/* What an escape such as %41 at `text` stands for; 0: there is none, or it is %00. */
static unsigned long escaped(const char *text)
{
    if (text[0] != '%' || !isxdigit((unsigned char)text[1]) || !isxdigit((unsigned char)text[2]))
        return 0;
    const char digits[] = {text[1], text[2], '\0'};
    return strtoul(digits, NULL, 16);
}

/* As the library does it, but for %00, which stays as it is: a path or parameter that ends early
 * would name another resource. */
static size_t unescape(void *context, struct MHD_Connection *connection, char *text)
{
    (void)context;
    (void)connection;
    char *out = text;
    for (const char *in = text; *in; in++) {
        unsigned long value = escaped(in);
        *out++ = *in;
        if (value == 0)
            continue;
        out[-1] = (char)value;
        in += 2;
    }
    *out = '\0';
    return (size_t)(out - text);
}

static bool open_socket(const char *address, int port, int *out, struct error *err)
{
    char service[12];
    snprintf(service, sizeof service, "%d", port);
    const struct addrinfo hints = {.ai_family = AF_UNSPEC,
                                   .ai_socktype = SOCK_STREAM,
                                   .ai_flags = AI_PASSIVE | AI_NUMERICHOST | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    int failed = getaddrinfo(address, service, &hints, &found);
    if (failed)
        return error_set(err, ERROR_INVALID, "cannot listen on %s port %d: %s", address, port,
                         gai_strerror(failed));
    auto_close int fd =
        socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP);
    int one = 1;
    bool is_bound = fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) == 0 &&
                    bind(fd, found->ai_addr, found->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0;
    int failure = errno;
    freeaddrinfo(found);
    if (!is_bound)
        return error_set_errno(err, ERROR_UNREACHABLE, failure, "cannot listen on %s port %d",
                               address, port);
    *out = take_fd(&fd);
    return true;
}

/* clang-format off */
static struct MHD_Daemon *start_daemon(struct http_listener *listener,
                                       const struct http_config *config, int fd)
{
    bool is_agent = listener->port == HTTP_AGENT_PORT;
    bool is_own = !is_agent && config->api_certificate;
    unsigned int connections = MOST_CONNECTIONS + (is_agent ? 0U : (unsigned int)config->streams);
    struct MHD_OptionItem agent_options[] = {
        {MHD_OPTION_HTTPS_MEM_TRUST, 0, (void *)(uintptr_t)config->ca},
        {MHD_OPTION_END, 0, NULL},
    };
    struct MHD_OptionItem api_options[] = {
        {MHD_OPTION_END, 0, NULL},
    };
    unsigned int flags = MHD_USE_TLS | MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_SUSPEND_RESUME |
                         MHD_USE_ERROR_LOG | MHD_USE_PEDANTIC_CHECKS;
    return MHD_start_daemon(
        flags, 0, &http_may_connect, listener, &http_on_request, listener,
        MHD_OPTION_EXTERNAL_LOGGER, &log_library, NULL,
        MHD_OPTION_LISTEN_SOCKET, fd,
        MHD_OPTION_UNESCAPE_CALLBACK, &unescape, NULL,
        MHD_OPTION_THREAD_POOL_SIZE, (unsigned int)(is_agent ? AGENT_IO_THREADS : IO_THREADS),
        MHD_OPTION_CONNECTION_LIMIT, connections,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)(is_agent ? AGENT_HEADER_MEMORY : HEADER_MEMORY),
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned int)IDLE_TIMEOUT_S,
        MHD_OPTION_NOTIFY_COMPLETED, &http_on_completed, listener,
        MHD_OPTION_NOTIFY_CONNECTION, &http_on_connection, listener,
        MHD_OPTION_HTTPS_MEM_KEY, is_own ? config->api_key : config->server_key,
        MHD_OPTION_HTTPS_MEM_CERT,
        is_own ? config->api_certificate : config->server_certificate,
        MHD_OPTION_HTTPS_PRIORITIES, priorities[listener->port],
        MHD_OPTION_ARRAY, is_agent ? agent_options : api_options, MHD_OPTION_END);
}
/* clang-format on */

bool http_listen(struct http_listener *listener, const struct http_config *config,
                 struct error *err)
{
    bool is_agent = listener->port == HTTP_AGENT_PORT;
    const char *address = is_agent ? config->agent_address : config->api_address;
    int port = is_agent ? config->agent_port : config->api_port;
    int fd = -1;
    if (!open_socket(address, port, &fd, err))
        return false;
    listener->daemon = start_daemon(listener, config, fd);
    if (!listener->daemon)
        return error_set(err, ERROR_INTERNAL,
                         "cannot serve HTTPS on %s port %d: libmicrohttpd did not start; does the "
                         "server certificate belong to its key?",
                         address, port);
    return true;
}

void http_listen_no_more(struct http_listener *listener)
{
    if (!listener->daemon)
        return;
    MHD_socket fd = MHD_quiesce_daemon(listener->daemon);
    if (fd != MHD_INVALID_SOCKET)
        close(fd);
}

void http_listen_stop(struct http_listener *listener)
{
    if (listener->daemon)
        MHD_stop_daemon(listener->daemon);
    listener->daemon = NULL;
}
