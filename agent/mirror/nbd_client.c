/* NBD connections that can be interrupted. */
#include "agent/mirror/nbd_client.h"

#include "base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

bool nbd_client_error(struct error *err, const char *what)
{
    const char *text = nbd_get_error();
    int number = nbd_get_errno();
    error_set(err, number == ENOSPC || number == EDQUOT ? ERROR_NO_SPACE : ERROR_UNREACHABLE,
              "%s: %s", what, text ? text : strerror(number));
    return false;
}

bool nbd_client_attach(struct nbd_client *client, int fd, struct error *err)
{
    *client = NBD_CLIENT_NONE;
    auto_close int owned = fd;
    auto_close int duplicate = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (duplicate < 0)
        return error_set_errno(err, ERROR_INTERNAL, errno, "duplicate an NBD socket");
    struct nbd_handle *handle = nbd_create();
    if (!handle)
        return nbd_client_error(err, "create an NBD handle");
    client->handle = handle;
    client->socket = take_fd(&duplicate);
    client->pending = take_fd(&owned);
    return true;
}

bool nbd_client_handshake(struct nbd_client *client, const char *export_name,
                          const char *meta_context, struct error *err)
{
    if (nbd_set_export_name(client->handle, export_name) != 0 ||
        (meta_context && nbd_add_meta_context(client->handle, meta_context) != 0))
        return nbd_client_error(err, "set up an NBD connection");
    /* libnbd owns the socket from here on, also when the handshake fails. */
    if (nbd_connect_socket(client->handle, take_fd(&client->pending)) != 0)
        return nbd_client_error(err, "NBD handshake");
    return true;
}

int nbd_client_connect_unix(const char *socket_path, struct error *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(socket_path) >= sizeof address.sun_path) {
        error_set(err, ERROR_INVALID, "socket path %s is longer than %zu bytes", socket_path,
                  sizeof address.sun_path - 1);
        return -1;
    }
    memcpy(address.sun_path, socket_path, strlen(socket_path));
    auto_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        error_set_errno(err, ERROR_UNREACHABLE, errno, "connect to %s", socket_path);
        return -1;
    }
    return take_fd(&fd);
}

bool nbd_client_open(struct nbd_client *client, const char *socket_path, const char *export_name,
                     const char *meta_context, struct error *err)
{
    *client = NBD_CLIENT_NONE;
    int fd = nbd_client_connect_unix(socket_path, err);
    if (fd < 0 || !nbd_client_attach(client, fd, err))
        return false;
    if (nbd_client_handshake(client, export_name, meta_context, err))
        return true;
    nbd_client_close(client);
    return error_prefix(err, "%s", socket_path);
}

void nbd_client_interrupt(struct nbd_client *client)
{
    if (client->socket >= 0)
        shutdown(client->socket, SHUT_RDWR);
}

void nbd_client_close(struct nbd_client *client)
{
    if (client->handle)
        nbd_close(client->handle);
    if (client->pending >= 0)
        close(client->pending);
    if (client->socket >= 0)
        close(client->socket);
    *client = NBD_CLIENT_NONE;
}

void nbd_client_poll_fd(const struct nbd_client *client, struct pollfd *out)
{
    unsigned direction = nbd_aio_get_direction(client->handle);
    out->fd = nbd_aio_get_fd(client->handle);
    out->events = 0;
    out->revents = 0;
    if (direction & LIBNBD_AIO_DIRECTION_READ)
        out->events |= POLLIN;
    if (direction & LIBNBD_AIO_DIRECTION_WRITE)
        out->events |= POLLOUT;
}

bool nbd_client_step(struct nbd_client *client, const struct pollfd *polled, struct error *err)
{
    unsigned direction = nbd_aio_get_direction(client->handle);
    int failed = 0;
    if ((direction & LIBNBD_AIO_DIRECTION_READ) && (polled->revents & (POLLIN | POLLHUP)))
        failed = nbd_aio_notify_read(client->handle);
    else if ((direction & LIBNBD_AIO_DIRECTION_WRITE) && (polled->revents & POLLOUT))
        failed = nbd_aio_notify_write(client->handle);
    if (failed)
        return nbd_client_error(err, "NBD connection");
    if (polled->revents & (POLLERR | POLLNVAL) || nbd_aio_is_dead(client->handle) ||
        nbd_aio_is_closed(client->handle))
        return error_set(err, ERROR_UNREACHABLE, "the NBD connection was closed");
    return true;
}
