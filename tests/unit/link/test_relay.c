/* Relays: local socket -> TLS on loopback -> local socket. */
#include "fixture.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/memory.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

TestSuite(relay, .init = fixture_start, .fini = fixture_stop, .timeout = 90);

static struct error err;
static struct link_relay_options plain;

/* near <-> the source's local socket, far <-> the destination's */
struct route {
    struct link_relay *near_relay, *far_relay;
    int near, far;
};

static struct link_relay *relay_of_pair(struct link_stream *stream, int *local,
                                        const struct link_relay_options *options)
{
    int fds[2];
    struct link_relay *relay;
    cr_assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
    cr_assert(link_relay_start_fd(&relay, stream, fds[0], options, &err), "%s", err.text);
    *local = fds[1];
    return relay;
}

static void open_route(struct route *route, const struct link_relay_options *near_options)
{
    struct link_stream *near, *far;
    fixture_pair(&near, &far);
    route->near_relay = relay_of_pair(near, &route->near, near_options);
    route->far_relay = relay_of_pair(far, &route->far, &plain);
}

static void close_route(struct route *route)
{
    close(route->near);
    close(route->far);
    link_relay_stop(route->near_relay);
    link_relay_stop(route->far_relay);
}

/* --- bytes --- */

struct flow {
    int fd;
    size_t size;
    uint64_t checksum;
    unsigned seed;
};

static uint64_t add_up(uint64_t checksum, const unsigned char *data, size_t size)
{
    for (size_t i = 0; i < size; i++)
        checksum = (checksum ^ data[i]) * UINT64_C(0x100000001b3);
    return checksum;
}

/* Pieces of random sizes, then the end of this direction. */
static void *send_flow(void *argument)
{
    struct flow *flow = argument;
    static const size_t longest = 300000;
    auto_free unsigned char *data = memory_alloc(longest);
    for (size_t done = 0; done < flow->size;) {
        size_t count = (size_t)rand_r(&flow->seed) % (rand_r(&flow->seed) % 4 ? 100 : longest) + 1;
        count = count < flow->size - done ? count : flow->size - done;
        for (size_t i = 0; i < count; i += 64)
            data[i] = (unsigned char)rand_r(&flow->seed);
        flow->checksum = add_up(flow->checksum, data, count);
        for (size_t sent = 0; sent < count;) {
            ssize_t n = send(flow->fd, data + sent, count - sent, MSG_NOSIGNAL);
            if (n <= 0)
                return NULL;
            sent += (size_t)n;
        }
        done += count;
    }
    shutdown(flow->fd, SHUT_WR);
    return NULL;
}

static void *receive_flow(void *argument)
{
    struct flow *flow = argument;
    auto_free unsigned char *data = memory_alloc(200000);
    for (;;) {
        ssize_t n = recv(flow->fd, data, (size_t)rand_r(&flow->seed) % 200000 + 1, 0);
        if (n <= 0)
            return NULL;
        flow->checksum = add_up(flow->checksum, data, (size_t)n);
        flow->size += (size_t)n;
    }
}

Test(relay, carries_both_ways_with_random_sizes_and_ends_by_itself)
{
    struct route route;
    open_route(&route, &plain);
    struct flow flows[] = {{route.near, 20000001, 0, 1},
                           {route.far, 15000003, 0, 2},
                           {route.far, 0, 0, 3},
                           {route.near, 0, 0, 4}};
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, i < 2 ? send_flow : receive_flow, &flows[i]);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(flows[i].size, flows[i + 2].size);
        cr_assert_eq(flows[i].checksum, flows[i + 2].checksum);
    }
    cr_assert(link_relay_wait(route.near_relay, 5000) && link_relay_wait(route.far_relay, 5000));
    struct link_relay_status status;
    link_relay_status(route.near_relay, &status);
    cr_assert(status.has_ended && !status.has_stalled);
    cr_assert_eq(status.sent_bytes, 20000001);
    cr_assert_eq(status.received_bytes, 15000003);
    close_route(&route);
}

static void expect_text(int fd, const char *text)
{
    char got[100];
    size_t size = strlen(text), done = 0;
    while (done < size) {
        ssize_t n = recv(fd, got + done, size - done, 0);
        cr_assert(n > 0, "end after %zu of \"%s\"", done, text);
        done += (size_t)n;
    }
    cr_assert_eq(memcmp(got, text, size), 0);
}

static void expect_end(int fd)
{
    char byte;
    cr_assert_eq(recv(fd, &byte, 1, 0), 0);
}

Test(relay, one_direction_may_end_before_the_other)
{
    struct route route;
    open_route(&route, &plain);
    cr_assert(send(route.near, "ask", 3, 0) == 3);
    shutdown(route.near, SHUT_WR);
    expect_text(route.far, "ask");
    expect_end(route.far);
    cr_assert_not(link_relay_wait(route.near_relay, 200));
    cr_assert(send(route.far, "answer", 6, 0) == 6);
    expect_text(route.near, "answer");
    shutdown(route.far, SHUT_WR);
    expect_end(route.near);
    cr_assert(link_relay_wait(route.near_relay, 5000) && link_relay_wait(route.far_relay, 5000));
    close_route(&route);
}

Test(relay, a_client_that_closes_loses_nothing_it_sent)
{
    struct route route;
    open_route(&route, &plain);
    struct flow out = {.fd = route.near, .size = 8000000, .seed = 5}, in = {.fd = route.far};
    pthread_t thread;
    cr_assert(send(route.far, "unread", 6, 0) == 6); /* must not harm the other direction */
    pthread_create(&thread, NULL, receive_flow, &in);
    send_flow(&out);
    close(route.near);
    route.near = -1;
    pthread_join(thread, NULL);
    cr_assert_eq(in.size, 8000000);
    cr_assert_eq(in.checksum, out.checksum);
    close(route.far);
    route.far = -1;
    cr_assert(link_relay_wait(route.near_relay, 8000) && link_relay_wait(route.far_relay, 8000));
    close_route(&route);
}

Test(relay, a_gone_client_is_not_mourned_for_long)
{
    struct route route;
    open_route(&route, &plain);
    close(route.near);
    route.near = -1;
    expect_end(route.far); /* and keeps its own side open */
    int64_t begun = clock_monotonic_ms();
    cr_assert(link_relay_wait(route.near_relay, 20000));
    cr_assert(clock_monotonic_ms() - begun < 10000);
    cr_assert(link_relay_wait(route.far_relay, 5000));
    close_route(&route);
}

Test(relay, stop_closes_the_local_socket)
{
    struct route route;
    open_route(&route, &plain);
    cr_assert_not(link_relay_wait(route.near_relay, 50));
    link_relay_stop(route.near_relay);
    route.near_relay = NULL;
    expect_end(route.near);
    expect_end(route.far);
    cr_assert(link_relay_wait(route.far_relay, 5000));
    close_route(&route);
}

Test(relay, ends_when_its_server_closes)
{
    struct route route;
    open_route(&route, &plain);
    link_server_close(fixture_server);
    fixture_server = NULL;
    cr_assert(link_relay_wait(route.far_relay, 5000) && link_relay_wait(route.near_relay, 5000));
    expect_end(route.near);
    close_route(&route);
}

Test(relay, the_bandwidth_cap_holds)
{
    struct route route;
    struct link_relay_options capped = {.bandwidth_bytes_per_s = 4000000};
    open_route(&route, &capped);
    struct flow out = {.fd = route.near, .size = 4000000, .seed = 6}, in = {.fd = route.far};
    pthread_t thread;
    int64_t begun = clock_monotonic_ms();
    pthread_create(&thread, NULL, send_flow, &out);
    receive_flow(&in);
    int64_t took = clock_monotonic_ms() - begun;
    pthread_join(thread, NULL);
    cr_assert_eq(in.checksum, out.checksum);
    cr_assert(took > 900 && took < 3000, "%ld ms for 1 s", took);
    close_route(&route);
}

/* --- paths --- */

static int connect_path(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    close(fd);
    return -1;
}

Test(relay, listens_for_exactly_one_client_and_connects_to_a_server)
{
    char folder[] = "/tmp/relay-test-XXXXXX", in[64], out[64];
    cr_assert(mkdtemp(folder));
    snprintf(in, sizeof in, "%s/in", folder);
    snprintf(out, sizeof out, "%s/out", folder);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", out);
    int server = socket(AF_UNIX, SOCK_STREAM, 0);
    cr_assert(bind(server, (struct sockaddr *)&address, sizeof address) == 0);
    cr_assert(listen(server, 1) == 0);

    struct link_stream *near, *far;
    struct link_relay *listening, *connecting;
    struct link_relay_options options = {.path = in, .is_listening = true};
    fixture_pair(&near, &far);
    cr_assert(close(open(in, O_CREAT | O_WRONLY, 0644)) == 0); /* a leftover */
    cr_assert(link_relay_start(&listening, near, &options, &err), "%s", err.text);
    options = (struct link_relay_options){.path = out};
    cr_assert(link_relay_start(&connecting, far, &options, &err), "%s", err.text);
    struct stat info;
    cr_assert(stat(in, &info) == 0 && (info.st_mode & 0777) == 0600);

    int inside = accept(server, NULL, NULL), outside = connect_path(in);
    cr_assert(inside >= 0 && outside >= 0);
    cr_assert(send(inside, "hello", 5, 0) == 5);
    expect_text(outside, "hello");
    cr_assert_eq(connect_path(in), -1, "a second client");
    cr_assert(access(in, F_OK) < 0 && errno == ENOENT, "the path is gone");
    close(outside);
    expect_end(inside);
    close(inside);
    cr_assert(link_relay_wait(listening, 8000) && link_relay_wait(connecting, 8000));
    link_relay_stop(listening);
    link_relay_stop(connecting);
    close(server);
    unlink(out);
    rmdir(folder);
}

Test(relay, a_listening_relay_ends_with_its_stream_or_when_stopped)
{
    for (int i = 0; i < 2; i++) {
        struct link_stream *near, *far;
        struct link_relay *relay;
        char path[64];
        snprintf(path, sizeof path, "/tmp/relay-test-%d.sock", (int)getpid());
        struct link_relay_options options = {.path = path, .is_listening = true};
        fixture_pair(&near, &far);
        cr_assert(link_relay_start(&relay, near, &options, &err), "%s", err.text);
        cr_assert(link_write_all(far, "early", 5, 1000, &err), "bytes before the client");
        cr_assert_not(link_relay_wait(relay, 100));
        if (i == 0) {
            link_close(far);
            cr_assert(link_relay_wait(relay, 5000));
        }
        link_relay_stop(relay);
        cr_assert(access(path, F_OK) < 0);
        if (i == 1)
            link_close(far);
    }
}

Test(relay, a_path_that_cannot_be_is_an_error_and_closes_the_stream)
{
    struct link_stream *near, *far;
    struct link_relay *relay;
    char path[300], byte;
    size_t got;
    memset(path, 'x', sizeof path - 1);
    path[sizeof path - 1] = '\0';
    const struct link_relay_options cases[] = {
        {.path = path}, {.path = path, .is_listening = true}, {.path = "/nonexistent/socket"}};
    for (size_t i = 0; i < 3; i++) {
        fixture_pair(&near, &far);
        cr_assert_not(link_relay_start(&relay, near, &cases[i], &err));
        cr_assert_not(link_read(far, &byte, 1, 5000, &got, &err));
        link_close(far);
    }
}

/* --- the watchdog --- */

enum { STALL_MS = 800 };
static const struct link_relay_options watched = {.watch_nbd = true, .stall_limit_ms = STALL_MS};

static const unsigned char greeting[18] = "NBDMAGICIHAVEOPT\0\3";
static const unsigned char flags_and_go[] = {0, 0, 0, 3, 'I', 'H', 'A', 'V', 'E', 'O', 'P', 'T', 0,
                                             0, 0, 7, 0, 0,   0,   6,   0,   0,   0,   0,   0,   0};
static const unsigned char go_ack[20] = {0, 3, 0xe8, 0x89, 4, 0x55, 0x65, 0xa9, 0, 0,
                                         0, 7, 0,    0,    0, 1,    0,    0,    0, 0};

static void negotiate(struct route *route)
{
    char ignored[64];
    cr_assert(send(route->far, greeting, 18, 0) == 18);
    cr_assert(recv(route->near, ignored, 18, MSG_WAITALL) == 18);
    cr_assert(send(route->near, flags_and_go, sizeof flags_and_go, 0) == sizeof flags_and_go);
    cr_assert(recv(route->far, ignored, sizeof flags_and_go, MSG_WAITALL) == sizeof flags_and_go);
    cr_assert(send(route->far, go_ack, 20, 0) == 20);
    cr_assert(recv(route->near, ignored, 20, MSG_WAITALL) == 20);
}

static void send_write(int fd, unsigned char cookie, uint32_t length)
{
    unsigned char header[28] = {0x25, 0x60, 0x95, 0x13, 0, 0, 0, 1, [15] = cookie};
    for (int i = 0; i < 4; i++)
        header[24 + i] = (unsigned char)(length >> (24 - 8 * i));
    cr_assert(send(fd, header, 28, MSG_NOSIGNAL) == 28);
}

static void send_reply(int fd, unsigned char cookie)
{
    unsigned char reply[16] = {0x67, 0x44, 0x66, 0x98, [15] = cookie};
    cr_assert(send(fd, reply, 16, 0) == 16);
}

/* How much too late this machine wakes a thread now: a busy one must not fail the test. */
static atomic_bool is_measuring;
static int64_t worst_lateness_ms;
static pthread_t lateness_thread;

static void *measure_lateness(void *unused)
{
    while (atomic_load(&is_measuring)) {
        int64_t begun = clock_monotonic_ms();
        clock_sleep_ms(5);
        int64_t late_ms = clock_monotonic_ms() - begun - 5;
        worst_lateness_ms = late_ms > worst_lateness_ms ? late_ms : worst_lateness_ms;
    }
    return unused;
}

static int64_t begin_stall(void)
{
    atomic_store(&is_measuring, true);
    cr_assert(pthread_create(&lateness_thread, NULL, measure_lateness, NULL) == 0);
    return clock_monotonic_ms();
}

/* The client sees its end at the limit. */
static void expect_stall(struct route *route, int64_t begun)
{
    char byte;
    cr_assert(recv(route->near, &byte, 1, 0) <= 0);
    int64_t took = clock_monotonic_ms() - begun;
    atomic_store(&is_measuring, false);
    pthread_join(lateness_thread, NULL);
    cr_assert(took >= STALL_MS - 1 && took < STALL_MS + 100 + 10 * worst_lateness_ms,
              "%ld ms, lateness %ld ms", took, worst_lateness_ms);
    cr_assert(link_relay_wait(route->near_relay, 5000));
    struct link_relay_status status;
    link_relay_status(route->near_relay, &status);
    cr_assert(status.has_stalled && status.has_ended);
    cr_assert(status.longest_wait_ms >= STALL_MS);
}

Test(relay, a_server_that_never_greets_is_a_stall)
{
    struct route route;
    int64_t begun = begin_stall();
    open_route(&route, &watched);
    expect_stall(&route, begun);
    close_route(&route);
}

Test(relay, an_idle_client_never_stalls_and_answered_writes_are_counted)
{
    struct route route;
    char data[4096 + 28], reply[16];
    struct link_relay_status status;
    open_route(&route, &watched);
    negotiate(&route);
    clock_sleep_ms(STALL_MS * 2);
    for (unsigned char i = 1; i <= 3; i++) {
        send_write(route.near, i, 4096);
        cr_assert(send(route.near, data, 4096, 0) == 4096);
        cr_assert(recv(route.far, data, sizeof data, MSG_WAITALL) == sizeof data);
        clock_sleep_ms(STALL_MS / 2);
        link_relay_status(route.near_relay, &status);
        cr_assert_eq(status.outstanding, 1);
        cr_assert(status.longest_wait_ms >= STALL_MS / 2 - 1);
        send_reply(route.far, i);
        cr_assert(recv(route.near, reply, 16, MSG_WAITALL) == 16);
    }
    cr_assert_not(link_relay_wait(route.near_relay, STALL_MS * 2));
    link_relay_status(route.near_relay, &status);
    cr_assert_eq(status.written_bytes, 3 * 4096);
    cr_assert_eq(status.outstanding, 0);
    cr_assert(!status.has_stalled);
    close_route(&route);
}

Test(relay, a_header_travels_with_its_payload)
{
    struct route route;
    char data[1024] = {0};
    open_route(&route, &watched);
    negotiate(&route);
    send_write(route.near, 1, 1024);
    clock_sleep_ms(STALL_MS / 4);
    cr_assert(recv(route.far, data, sizeof data, MSG_DONTWAIT) < 0 && errno == EAGAIN);
    cr_assert(send(route.near, data, 1000, 0) == 1000);
    clock_sleep_ms(STALL_MS / 4);
    cr_assert(recv(route.far, data, sizeof data, MSG_DONTWAIT) < 0 && errno == EAGAIN);
    shutdown(route.near, SHUT_WR); /* there will be no more: what came goes on */
    cr_assert(recv(route.far, data, 28, MSG_WAITALL) == 28);
    cr_assert(recv(route.far, data, 1000, MSG_WAITALL) == 1000);
    cr_assert(recv(route.far, data, 1, 0) == 0);
    close_route(&route);
}

Test(relay, a_write_without_an_answer_is_a_stall)
{
    struct route route;
    open_route(&route, &watched);
    negotiate(&route);
    int64_t begun = begin_stall();
    send_write(route.near, 1, 0);
    expect_stall(&route, begun);
    close_route(&route);
}

Test(relay, later_answers_do_not_hide_an_old_request)
{
    struct route route;
    char ignored[28];
    open_route(&route, &watched);
    negotiate(&route);
    int64_t begun = begin_stall();
    send_write(route.near, 1, 0);
    cr_assert(recv(route.far, ignored, 28, MSG_WAITALL) == 28);
    for (unsigned char i = 2; i < 6; i++) {
        send_write(route.near, i, 0);
        cr_assert(recv(route.far, ignored, 28, MSG_WAITALL) == 28);
        send_reply(route.far, i);
        cr_assert(recv(route.near, ignored, 16, MSG_WAITALL) == 16);
        clock_sleep_ms(20);
    }
    expect_stall(&route, begun);
    close_route(&route);
}

static void *send_much(void *fd)
{
    char block[65536] = {0};
    while (send(*(int *)fd, block, sizeof block, MSG_NOSIGNAL) > 0)
        ;
    return NULL;
}

/* Buffers of both hosts are full and nothing can be sent: the same to us as a network that swallows
 * everything. */
Test(relay, a_peer_that_stops_reading_is_a_stall)
{
    struct link_stream *near, *far;
    struct route route;
    pthread_t thread;
    fixture_pair(&near, &far);
    route.near_relay = relay_of_pair(near, &route.near, &watched);
    char ignored[64];
    cr_assert(link_write_all(far, greeting, 18, 1000, &err), "%s", err.text);
    cr_assert(recv(route.near, ignored, 18, MSG_WAITALL) == 18);
    cr_assert(send(route.near, flags_and_go, sizeof flags_and_go, 0) == sizeof flags_and_go);
    cr_assert(link_read_all(far, ignored, sizeof flags_and_go, 1000, &err), "%s", err.text);
    cr_assert(link_write_all(far, go_ack, 20, 1000, &err), "%s", err.text);
    cr_assert(recv(route.near, ignored, 20, MSG_WAITALL) == 20);
    int64_t begun = begin_stall();
    send_write(route.near, 1, UINT32_MAX);
    pthread_create(&thread, NULL, send_much, &route.near);
    pthread_join(thread, NULL); /* its send fails when the local socket is closed */
    expect_stall(&route, begun);
    close(route.near);
    link_relay_stop(route.near_relay);
    link_close(far);
}

Test(relay, a_foreign_protocol_ends_a_watched_relay)
{
    struct route route;
    char byte;
    open_route(&route, &watched);
    cr_assert(send(route.far, "HTTP/1.1 200 OK\r\n\r\n", 19, 0) == 19);
    cr_assert(recv(route.near, &byte, 1, 0) <= 0, "nothing of it is passed on");
    cr_assert(link_relay_wait(route.near_relay, 5000));
    struct link_relay_status status;
    link_relay_status(route.near_relay, &status);
    cr_assert(!status.has_stalled);
    close_route(&route);
}
