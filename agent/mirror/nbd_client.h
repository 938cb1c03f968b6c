/* An NBD connection over a socket that is already connected. Any thread can interrupt it: every
 * call that is blocked on it then fails at once. */
#pragma once

#include "base/error.h"

#include <libnbd.h>
#include <poll.h>

struct nbd_client {
    struct nbd_handle *handle; /* NULL: not attached */
    int socket;                /* a duplicate, only to interrupt */
    int pending;               /* not yet handed to libnbd */
};
#define NBD_CLIENT_NONE                                                                            \
    (struct nbd_client)                                                                            \
    {                                                                                              \
        .socket = -1, .pending = -1                                                                \
    }

/* Takes `fd` over, also on failure. No byte flows before the handshake. */
bool nbd_client_attach(struct nbd_client *client, int fd, struct error *err) must_check;
/* `meta_context` may be NULL; one that the server does not have is an error only when the caller
 * finds nbd_can_meta_context false. */
bool nbd_client_handshake(struct nbd_client *client, const char *export_name,
                          const char *meta_context, struct error *err) must_check;
/* Both, to a unix socket. */
bool nbd_client_open(struct nbd_client *client, const char *socket_path, const char *export_name,
                     const char *meta_context, struct error *err) must_check;
void nbd_client_interrupt(struct nbd_client *client);
void nbd_client_close(struct nbd_client *client); /* one that is not attached is fine */

/* What poll(2) has to wait for, and what follows from its answer. */
void nbd_client_poll_fd(const struct nbd_client *client, struct pollfd *out);
bool nbd_client_step(struct nbd_client *client, const struct pollfd *polled,
                     struct error *err) must_check;

/* The last libnbd error of this thread, as text with `what` in front: NO_SPACE when the far disk is
 * full, else UNREACHABLE. */
bool nbd_client_error(struct error *err, const char *what);
int nbd_client_connect_unix(const char *socket_path, struct error *err) must_check; /* -1 */
