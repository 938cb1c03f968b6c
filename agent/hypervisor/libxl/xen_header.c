/* Looking at the header without taking it; see xen_header.h. */
#include "agent/hypervisor/libxl/xen_header.h"

#include "base/cleanup.h"
#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { LOOK_MS = 5 };

/* docs/specs/libxl-migration-stream of Xen: the header of a stream of version 2 from a
 * little-endian host, then that of the record in which the helper's stream begins. */
static const unsigned char header[] = {
    'L', 'i', 'b', 'x', 'l', 'F', 'm', 't', 0, 0, 0, 2, 0, 0, 0, 0, /* identity, version, options */
    1,   0,   0,   0,   0,   0,   0,   0,                           /* LIBXC_CONTEXT, empty */
};

/* tee(2) copies what is in a pipe and leaves it there. */
static bool peek(int pipe, unsigned char out[sizeof header], struct error *err)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) < 0)
        return error_set_errno(err, ERROR_INTERNAL, errno, "a pipe for the stream's header");
    ssize_t got = tee(pipe, fds[1], sizeof header, SPLICE_F_NONBLOCK);
    bool is_read = got == (ssize_t)sizeof header && read(fds[0], out, sizeof header) == got;
    int code = got < 0 ? errno : EIO;
    close(fds[0]);
    close(fds[1]);
    return is_read || error_set_errno(err, ERROR_INTERNAL, code, "looking at the stream's header");
}

bool xen_header_await(int pipe, struct error *err)
{
    for (;;) {
        struct pollfd at = {.fd = pipe, .events = POLLIN};
        int ready = 0;
        if ((poll(&at, 1, -1) < 0 && errno != EINTR) || ioctl(pipe, FIONREAD, &ready) < 0)
            return error_set_errno(err, ERROR_INTERNAL, errno, "the domain's stream");
        if (ready >= (int)sizeof header)
            break;
        if (at.revents & ~POLLIN) /* before the bytes were counted */
            return error_set(err, ERROR_UNREACHABLE, "the domain's stream ended in its header");
        clock_sleep_ms(LOOK_MS);
    }
    unsigned char found[sizeof header];
    return peek(pipe, found, err) &&
           (memcmp(found, header, sizeof header) == 0 ||
            error_set(err, ERROR_INVALID, "the domain's stream is none of libxl"));
}

int xen_header_hold(int pipe, struct error *err)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", pipe);
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        error_set_errno(err, ERROR_INTERNAL, errno, "a reading end of the domain's stream");
    return fd;
}
