/* Unix sockets of other processes. */
#pragma once

#include <stdbool.h>

/* Does a process of this network namespace listen on the path? Found without a connection, which
 * the listener would see. */
bool unix_socket_is_listening(const char *path);
