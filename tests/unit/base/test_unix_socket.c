/* Who listens on a path, seen without connecting. */
#include "base/unix_socket.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

Test(unix_socket, only_a_path_that_is_listened_on_is_told)
{
    char folder[] = "/tmp/unix socket-XXXXXX"; /* a path may hold spaces */
    char other_spelling[64];
    cr_assert(mkdtemp(folder));
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s/x", folder);
    snprintf(other_spelling, sizeof other_spelling, "%s/./x", folder);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_geq(fd, 0);
    cr_assert_not(unix_socket_is_listening(address.sun_path));
    cr_assert_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    cr_assert_not(unix_socket_is_listening(address.sun_path));
    cr_assert_eq(listen(fd, 1), 0);
    cr_assert(unix_socket_is_listening(address.sun_path));
    cr_assert(unix_socket_is_listening(other_spelling));
    cr_assert_not(unix_socket_is_listening(folder));
    close(fd);
    cr_assert_not(unix_socket_is_listening(address.sun_path));
    unlink(address.sun_path);
    rmdir(folder);
}
