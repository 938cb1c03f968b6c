/* The QMP client against a small server that says what each test wrote down. */
#include "agent/qmp/qmp.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/memory.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

static const char GREETING[] = "{\"QMP\": {\"version\": {}, \"capabilities\": []}}\r\n";
static const char DONE[] = "{\"return\": {}, \"id\": %d}\n";

/* One connection. For each line that comes, it answers the next text of the script ("%d" becomes
 * the id of the command) and keeps what it got; a NULL closes. */
static struct server {
    char folder[32];
    char path[64];
    int listener;
    const char *greeting;
    const char *script[8];
    char got[8][512];
    int passed_fd;
    pthread_t thread;
} server;

static bool read_line(int fd, char *out, size_t size)
{
    for (size_t used = 0; used + 1 < size; used++) {
        char space[CMSG_SPACE(sizeof(int))];
        struct iovec piece = {.iov_base = out + used, .iov_len = 1};
        struct msghdr message = {.msg_iov = &piece,
                                 .msg_iovlen = 1,
                                 .msg_control = space,
                                 .msg_controllen = sizeof space};
        if (recvmsg(fd, &message, 0) != 1)
            return false;
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        if (header)
            memcpy(&server.passed_fd, CMSG_DATA(header), sizeof(int));
        if (out[used] == '\n') {
            out[used] = '\0';
            return true;
        }
    }
    return false;
}

static void answer(int fd, const char *text, int id)
{
    const char *mark = strstr(text, "%d");
    auto_free char *line = mark ? memory_format("%.*s%d%s", (int)(mark - text), text, id, mark + 2)
                                : memory_copy_text(text);
    for (size_t i = 0; line[i]; i++) /* byte by byte: the client must put lines together */
        if (send(fd, line + i, 1, MSG_NOSIGNAL) < 0)
            return;
}

static void *serve(void *unused)
{
    (void)unused;
    auto_close int fd = accept(server.listener, NULL, NULL);
    answer(fd, server.greeting, 0);
    for (int i = 0; i < 8; i++) {
        if (!read_line(fd, server.got[i], sizeof server.got[i]) || !server.script[i])
            return NULL;
        answer(fd, server.script[i], i + 1);
    }
    return NULL;
}

static void bind_socket(void)
{
    strcpy(server.folder, "/tmp/qmp-test-XXXXXX");
    cr_assert(mkdtemp(server.folder));
    snprintf(server.path, sizeof server.path, "%s/s", server.folder);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strcpy(address.sun_path, server.path);
    server.listener = socket(AF_UNIX, SOCK_STREAM, 0);
    cr_assert_eq(bind(server.listener, (struct sockaddr *)&address, sizeof address), 0);
}

static void start(const char *greeting, const char *const script[])
{
    bind_socket();
    cr_assert_eq(listen(server.listener, 1), 0);
    server.greeting = greeting;
    for (int i = 0; i < 8 && script[i]; i++)
        server.script[i] = script[i];
    pthread_create(&server.thread, NULL, serve, NULL);
}

static void remove_socket(void)
{
    struct error err;
    close(server.listener);
    cr_assert(file_remove_tree(server.folder, &err));
}

static void stop(struct qmp *qmp)
{
    qmp_close(qmp);
    pthread_join(server.thread, NULL);
    remove_socket();
}

static struct qmp *open_client(void)
{
    struct error err;
    struct qmp *qmp = NULL;
    cr_assert(qmp_open(&qmp, server.path, 5000, &err), "%s", err.text);
    return qmp;
}

Test(qmp, negotiates_and_returns_the_result, .timeout = 30)
{
    struct error err;
    const char *script[] = {DONE, "{\"return\": {\"status\": \"running\"}, \"id\": %d}\r\n", NULL};
    start(GREETING, script);
    struct qmp *qmp = open_client();
    json_auto_t *result = NULL;
    cr_assert(qmp_command(qmp, "query-status", json_pack("{s:i}", "a", 1), 5000, &result, &err),
              "%s", err.text);
    cr_assert_str_eq(json_string_value(json_object_get(result, "status")), "running");
    stop(qmp);
    cr_assert_str_eq(server.got[0], "{\"execute\":\"qmp_capabilities\",\"id\":1}");
    cr_assert_str_eq(server.got[1],
                     "{\"execute\":\"query-status\",\"id\":2,\"arguments\":{\"a\":1}}");
}

Test(qmp, an_error_of_qemu_is_refused_with_its_text, .timeout = 30)
{
    struct error err;
    const char *script[] = {
        DONE,
        "{\"error\": {\"class\": \"GenericError\", \"desc\": \"no such node\"}, \"id\": %d}\n",
        DONE, NULL};
    start(GREETING, script);
    struct qmp *qmp = open_client();
    cr_assert_not(qmp_command(qmp, "blockdev-del", NULL, 5000, NULL, &err));
    cr_assert_eq(err.code, ERROR_REFUSED);
    cr_assert_str_eq(err.text, "blockdev-del: no such node");
    cr_assert(qmp_command(qmp, "cont", NULL, 5000, NULL, &err), "the connection goes on");
    stop(qmp);
}

Test(qmp, events_that_come_meanwhile_are_queued_and_matched, .timeout = 30)
{
    struct error err;
    const char *script[] = {DONE,
                            "{\"event\": \"STOP\"}\n"
                            "{\"event\": \"JOB\", \"data\": {\"device\": \"m0\", \"n\": 1}}\n"
                            "{\"event\": \"JOB\", \"data\": {\"device\": \"m1\", \"n\": 2}}\n"
                            "{\"return\": {}, \"id\": %d}\n",
                            "{\"return\": {}, \"id\": %d}\n{\"event\": \"JOB\", \"data\": "
                            "{\"device\": \"m1\", \"n\": 3}}\n",
                            NULL};
    start(GREETING, script);
    struct qmp *qmp = open_client();
    json_t *data = NULL;
    cr_assert(qmp_command(qmp, "stop", NULL, 5000, NULL, &err));
    cr_assert_not(qmp_take_event(qmp, "JOB", "device", "m2", NULL));
    cr_assert(qmp_wait_event(qmp, "JOB", "device", "m1", 5000, &data, &err));
    cr_assert_eq(json_integer_value(json_object_get(data, "n")), 2);
    json_decref(data);
    cr_assert(qmp_take_event(qmp, "JOB", "device", NULL, NULL), "any device");
    cr_assert(qmp_take_event(qmp, "STOP", NULL, NULL, NULL));
    cr_assert_not(qmp_take_event(qmp, "STOP", NULL, NULL, NULL), "taken only once");
    cr_assert(qmp_command(qmp, "cont", NULL, 5000, NULL, &err));
    cr_assert(qmp_wait_event(qmp, "JOB", "device", "m1", 5000, &data, &err), "one still to come");
    cr_assert_eq(json_integer_value(json_object_get(data, "n")), 3);
    json_decref(data);
    stop(qmp);
}

Test(qmp, forgotten_events_do_not_count, .timeout = 30)
{
    struct error err;
    const char *script[] = {
        DONE, "{\"event\": \"READY\"}\n{\"event\": \"STOP\"}\n{\"return\": {}, \"id\": %d}\n",
        NULL};
    start(GREETING, script);
    struct qmp *qmp = open_client();
    cr_assert(qmp_command(qmp, "stop", NULL, 5000, NULL, &err));
    qmp_forget_events(qmp, "READY");
    cr_assert_not(qmp_wait_event(qmp, "READY", NULL, NULL, 50, NULL, &err));
    cr_assert_eq(err.code, ERROR_TIMEOUT);
    cr_assert(qmp_take_event(qmp, "STOP", NULL, NULL, NULL));
    stop(qmp);
}

Test(qmp, a_late_reply_is_not_taken_for_the_next_command, .timeout = 30)
{
    struct error err;
    const char *script[] = {
        DONE, "", "{\"return\": \"late\", \"id\": 2}\n{\"return\": \"mine\", \"id\": %d}\n", NULL};
    start(GREETING, script);
    struct qmp *qmp = open_client();
    json_auto_t *result = NULL;
    int64_t begin = clock_monotonic_ms();
    cr_assert_not(qmp_command(qmp, "slow", NULL, 100, NULL, &err));
    cr_assert_eq(err.code, ERROR_TIMEOUT);
    cr_assert_lt(clock_monotonic_ms() - begin, 5000);
    cr_assert(qmp_command(qmp, "next", NULL, 5000, &result, &err));
    cr_assert_str_eq(json_string_value(result), "mine");
    stop(qmp);
}

Test(qmp, events_before_the_greeting_are_queued, .timeout = 30)
{
    const char *script[] = {DONE, NULL};
    start("{\"event\": \"RESUME\"}\r\n{\"QMP\": {\"version\": {}}}\r\n", script);
    struct qmp *qmp = open_client();
    cr_assert(qmp_take_event(qmp, "RESUME", NULL, NULL, NULL));
    stop(qmp);
}

Test(qmp, a_closed_connection_is_unreachable, .timeout = 30)
{
    struct error err;
    const char *script[] = {DONE, NULL};
    start(GREETING, script);
    struct qmp *qmp = open_client();
    cr_assert_not(qmp_command(qmp, "quit", NULL, 5000, NULL, &err));
    cr_assert_eq(err.code, ERROR_UNREACHABLE);
    cr_assert(strncmp(err.text, "quit: QMP", 9) == 0, "%s", err.text);
    stop(qmp);
}

Test(qmp, what_is_no_qmp_is_refused, .timeout = 30)
{
    struct error err;
    struct qmp *qmp = NULL;
    const char *script[] = {NULL};
    start("SSH-2.0-OpenSSH\r\n", script);
    cr_assert_not(qmp_open(&qmp, server.path, 5000, &err));
    cr_assert_eq(err.code, ERROR_UNREACHABLE);
    cr_assert(strstr(err.text, "not a JSON object"), "%s", err.text);
    cr_assert_null(qmp);
    stop(NULL);
}

Test(qmp, a_qemu_that_has_ended_is_not_found)
{
    struct error err;
    struct qmp *qmp = NULL;
    cr_assert_not(qmp_open(&qmp, "/nonexistent/socket", 100, &err));
    cr_assert_eq(err.code, ERROR_NOT_FOUND);
    bind_socket(); /* and nobody listens on it */
    cr_assert_not(qmp_open(&qmp, server.path, 100, &err));
    cr_assert_eq(err.code, ERROR_NOT_FOUND);
    cr_assert(strstr(err.text, "QEMU has ended"), "%s", err.text);
    cr_assert(qmp_has_ended(server.path));
    cr_assert_eq(listen(server.listener, 1), 0);
    cr_assert_not(qmp_has_ended(server.path));
    remove_socket();
    /* what cannot be asked is not known to have ended */
    char longer[200];
    memset(longer, 'x', sizeof longer);
    longer[sizeof longer - 1] = '\0';
    cr_assert_not(qmp_has_ended(longer));
}

Test(qmp, passes_a_file_descriptor_with_its_command, .timeout = 30)
{
    struct error err;
    const char *script[] = {DONE, DONE, NULL};
    start(GREETING, script);
    struct qmp *qmp = open_client();
    int ends[2];
    cr_assert_eq(pipe(ends), 0);
    server.passed_fd = -1;
    cr_assert(qmp_command_fd(qmp, "getfd", json_pack("{s:s}", "fdname", "x"), ends[1], 5000, &err),
              "%s", err.text);
    stop(qmp);
    cr_assert_geq(server.passed_fd, 0);
    cr_assert_eq(write(server.passed_fd, "!", 1), 1);
    char byte;
    cr_assert_eq(read(ends[0], &byte, 1), 1);
    cr_assert_eq(byte, '!');
}
