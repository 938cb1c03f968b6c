/* Unix sockets of other processes. */
#pragma once

#include <stdbool.h>

/* Does a process of this network namespace listen on the path, or on the same file by another
 * spelling of it (nbdkit makes its path absolute)? Found without a connection, which the listener
 * would see. bind(2) makes the name before listen(2) makes it usable, and the file outlives its
 * process: that it is there says nothing. */
bool unix_socket_is_listening(const char *path);
