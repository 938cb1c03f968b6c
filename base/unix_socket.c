/* The kernel's table of unix sockets, proc(5):
 *   Num       RefCount Protocol Flags    Type St Inode Path
 *   00000000: 00000002 00000000 00010000 0001 01 16163 /run/x.sock */
#include "base/unix_socket.h"

#include "base/cleanup.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ACCEPTS = 1 << 16 }; /* __SO_ACCEPTCON of linux/net.h */

static bool is_listener(const char *line, const char *path)
{
    unsigned flags;
    int path_begins = 0;
    /* NOLINTNEXTLINE(cert-err34-c): the kernel's own numbers */
    if (sscanf(line, "%*s %*s %*s %x %*s %*s %*s %n", &flags, &path_begins) != 1 || !path_begins)
        return false;
    return (flags & ACCEPTS) && strcmp(line + path_begins, path) == 0;
}

bool unix_socket_is_listening(const char *path)
{
    auto_fclose FILE *table = fopen("/proc/net/unix", "re");
    auto_free char *line = NULL;
    size_t capacity = 0;
    bool is_found = false;
    while (table && !is_found && getline(&line, &capacity, table) > 0) {
        line[strcspn(line, "\n")] = '\0';
        is_found = is_listener(line, path);
    }
    return is_found;
}
