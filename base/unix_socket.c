/* The kernel's table of unix sockets, proc(5):
 *   Num       RefCount Protocol Flags    Type St Inode Path
 *   00000000: 00000002 00000000 00010000 0001 01 16163 /run/x.sock */
#include "base/unix_socket.h"

#include "base/cleanup.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { ACCEPTS = 1 << 16 }; /* __SO_ACCEPTCON of linux/net.h */

static bool is_same_file(const char *one, const char *other)
{
    struct stat first, second;
    return strcmp(basename(one), basename(other)) == 0 && stat(one, &first) == 0 &&
           stat(other, &second) == 0 && first.st_dev == second.st_dev &&
           first.st_ino == second.st_ino;
}

static bool is_listener(const char *line, const char *path)
{
    unsigned flags;
    int name_begins = 0;
    /* NOLINTNEXTLINE(cert-err34-c): the kernel's own numbers */
    if (sscanf(line, "%*s %*s %*s %x %*s %*s %*s %n", &flags, &name_begins) != 1 || !name_begins)
        return false;
    const char *name = line + name_begins;
    return (flags & ACCEPTS) && (strcmp(name, path) == 0 || is_same_file(name, path));
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
