/* See socket.h. */
#include "agent/link/socket.h"

#include "base/cleanup.h"
#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>

enum {
    /* A peer that vanished is noticed after this time without an acknowledgement. Not shorter: a
     * receiver that flushes to a slow disk reads nothing for long, and that counts the same. */
    GONE_AFTER_MS = 90000,
    PROBE_EVERY_S = 15,
    LOCAL_BUFFER = 1 << 20,
    LOCAL_CONNECT_MS = 5000, /* its backlog may be full for a moment */
};

bool socket_parse(const char *address, int port, union socket_address *out, socklen_t *size,
                  struct error *err)
{
    if (port < 0 || port > UINT16_MAX)
        return error_set(err, ERROR_INVALID, "port %d: expected 0 to 65535", port);
    char service[8];
    snprintf(service, sizeof service, "%d", port);
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
                             .ai_socktype = SOCK_STREAM},
                    *found;
    if (getaddrinfo(address, service, &hints, &found) != 0)
        return error_set(err, ERROR_INVALID, "\"%.64s\": expected an IPv4 or IPv6 address",
                         address);
    memcpy(out, found->ai_addr, found->ai_addrlen);
    *size = found->ai_addrlen;
    freeaddrinfo(found);
    return true;
}

void socket_describe(const union socket_address *address, char *text, size_t size)
{
    char host[NI_MAXHOST], port[8];
    if (getnameinfo(&address->any, sizeof *address, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        snprintf(text, size, "unknown address");
    else
        snprintf(text, size, "%s port %s", host, port);
}

static void set_option(int fd, int level, int option, int value)
{
    /* an option that this kernel lacks costs speed or a later notice, not correctness */
    (void)!setsockopt(fd, level, option, &value, sizeof value);
}

/* The buffers stay with the kernel, which grows them with the distance. */
void socket_tune(int fd)
{
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, PROBE_EVERY_S);
    set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, PROBE_EVERY_S);
    set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, GONE_AFTER_MS);
}

void socket_close_hard(int fd)
{
    struct linger linger = {.l_onoff = 1, .l_linger = 0};
    (void)!setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
}

bool socket_tune_local(int fd, struct error *err)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
        return error_set_errno(err, ERROR_INTERNAL, errno, "local socket");
    set_option(fd, SOL_SOCKET, SO_SNDBUF, LOCAL_BUFFER);
    return true;
}

static bool local_address(const char *path, struct sockaddr_un *out, struct error *err)
{
    size_t length = strlen(path);
    if (length == 0 || length >= sizeof out->sun_path)
        return error_set(err, ERROR_INVALID, "socket path %.64s...: expected 1 to %zu bytes", path,
                         sizeof out->sun_path - 1);
    memset(out, 0, sizeof *out);
    out->sun_family = AF_UNIX;
    memcpy(out->sun_path, path, length);
    return true;
}

bool socket_listen_local(const char *path, int *fd, struct error *err)
{
    struct sockaddr_un address;
    if (!local_address(path, &address, err))
        return false;
    auto_close int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    /* what a killed agent left there is nobody's; the mode becomes the socket file's */
    if (listener < 0 || (unlink(path) < 0 && errno != ENOENT) || fchmod(listener, 0600) < 0 ||
        bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, 1) < 0)
        return error_set_errno(err, ERROR_INTERNAL, errno, "listening on %s", path);
    *fd = take_fd(&listener);
    return true;
}

bool socket_connect_local(const char *path, int *fd, struct error *err)
{
    struct sockaddr_un address;
    if (!local_address(path, &address, err))
        return false;
    auto_close int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (client < 0)
        return error_set_errno(err, ERROR_INTERNAL, errno, "local socket");
    int64_t deadline_ms = clock_monotonic_ms() + LOCAL_CONNECT_MS;
    while (connect(client, (struct sockaddr *)&address, sizeof address) < 0) {
        bool may_retry = errno == EAGAIN || errno == EINTR;
        if (!may_retry || clock_monotonic_ms() > deadline_ms)
            return error_set_errno(err, ERROR_UNREACHABLE, errno, "connecting to %s", path);
        clock_sleep_ms(5);
    }
    *fd = take_fd(&client);
    return true;
}
