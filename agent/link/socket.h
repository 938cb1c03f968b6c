/* The sockets of the link: TCP with its options, and the local unix sockets of relays. All are
 * non-blocking and close-on-exec. */
#pragma once

#include "base/error.h"

#include <netinet/in.h>
#include <sys/socket.h>

union socket_address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_storage storage;
};

/* Numeric IPv4 or IPv6 address only: no name server is ever asked. */
bool socket_parse(const char *address, int port, union socket_address *out, socklen_t *size,
                  struct error *err) must_check;
/* "127.0.0.1 port 7801" */
void socket_describe(const union socket_address *address, char *text, size_t size);
/* Options of a connection between two agents. */
void socket_tune(int fd);
/* Closing `fd` will drop what is not sent: nothing of it may arrive late. */
void socket_close_hard(int fd);

bool socket_listen_local(const char *path, int *fd, struct error *err) must_check;
bool socket_connect_local(const char *path, int *fd, struct error *err) must_check;
/* Options of a local connection, non-blocking included. */
bool socket_tune_local(int fd, struct error *err) must_check;
