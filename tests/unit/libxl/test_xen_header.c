/* libxl's stream begins only when its header has come whole, and can be written to until then. */
#include "agent/hypervisor/libxl/xen_header.h"

#include "base/clock.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

static const char good[] = "LibxlFmt\0\0\0\2\0\0\0\0\1\0\0\0\0\0\0\0and more";
enum { HEADER_BYTES = 24, GOOD_BYTES = sizeof good - 1 };

static int fds[2];
static struct error err;

static void setup(void)
{
    cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
}

static void teardown(void)
{
    close(fds[0]);
    close(fds[1]);
}

TestSuite(xen_header, .init = setup, .fini = teardown, .timeout = 30);

static void put(const char *data, size_t size)
{
    cr_assert_eq(write(fds[1], data, size), (ssize_t)size);
}

static void end(void)
{
    close(fds[1]);
    fds[1] = -1;
}

Test(xen_header, is_looked_at_and_left_in_the_pipe)
{
    char found[GOOD_BYTES];
    put(good, GOOD_BYTES);
    cr_assert(xen_header_await(fds[0], &err), "%s", err.text);
    cr_assert_eq(read(fds[0], found, sizeof found), GOOD_BYTES);
    cr_assert_eq(memcmp(found, good, GOOD_BYTES), 0);
}

static void *write_in_pieces(void *unused)
{
    (void)unused;
    for (int i = 0; i < HEADER_BYTES; i++) {
        put(good + i, 1);
        clock_sleep_ms(2);
    }
    return NULL;
}

Test(xen_header, may_come_in_pieces)
{
    pthread_t writer;
    pthread_create(&writer, NULL, write_in_pieces, NULL);
    cr_assert(xen_header_await(fds[0], &err), "%s", err.text);
    pthread_join(writer, NULL);
}

Test(xen_header, that_does_not_come_is_an_error)
{
    put(good, HEADER_BYTES - 1);
    end();
    cr_assert_not(xen_header_await(fds[0], &err));
    cr_assert_eq(err.code, ERROR_UNREACHABLE);
}

Test(xen_header, counts_though_nothing_follows)
{
    put(good, HEADER_BYTES);
    end();
    cr_assert(xen_header_await(fds[0], &err), "%s", err.text);
}

Test(xen_header, of_another_kind_is_refused)
{
    for (size_t i = 0; i < HEADER_BYTES; i++) {
        char other[HEADER_BYTES];
        memcpy(other, good, sizeof other);
        other[i] ^= 1;
        put(other, sizeof other);
        cr_assert_not(xen_header_await(fds[0], &err));
        cr_assert_eq(err.code, ERROR_INVALID, "byte %zu", i);
        cr_assert_eq(read(fds[0], other, sizeof other), HEADER_BYTES);
    }
}

Test(xen_header, can_be_written_while_it_is_held_though_the_reader_has_gone)
{
    signal(SIGPIPE, SIG_IGN);
    int held = xen_header_hold(fds[1], &err);
    cr_assert_geq(held, 0, "%s", err.text);
    close(fds[0]);
    fds[0] = -1;
    put(good, HEADER_BYTES);
    struct pollfd at = {.fd = fds[1], .events = POLLOUT};
    cr_assert_eq(poll(&at, 1, 0), 1);
    cr_assert_eq(at.revents, POLLOUT);
    close(held);
    cr_assert_eq(write(fds[1], good, 1), -1);
    cr_assert_eq(errno, EPIPE);
}
