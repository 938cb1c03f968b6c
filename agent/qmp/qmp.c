/* QMP client; see qmp.h. The protocol: one JSON object a line, replies carry the id of their
 * command, events come at any time (QEMU, docs/interop/qmp-spec.txt). */
#include "agent/qmp/qmp.h"

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/memory.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    MESSAGE_LIMIT = 16 << 20,
    EVENT_LIMIT = 4096, /* queued; the oldest are dropped beyond it */
};

struct qmp {
    int fd;
    int64_t next_id;
    struct buffer input;
    json_t *events;
};

static bool send_all(struct qmp *qmp, const char *text, size_t size, int pass_fd, int64_t deadline,
                     struct error *err)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {0};
    while (size) {
        struct iovec piece = {.iov_base = (char *)text, .iov_len = size};
        struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};
        if (pass_fd >= 0) {
            message.msg_control = control.space;
            message.msg_controllen = sizeof control.space;
            struct cmsghdr *header = CMSG_FIRSTHDR(&message);
            header->cmsg_level = SOL_SOCKET;
            header->cmsg_type = SCM_RIGHTS;
            header->cmsg_len = CMSG_LEN(sizeof pass_fd);
            memcpy(CMSG_DATA(header), &pass_fd, sizeof pass_fd);
        }
        ssize_t sent = sendmsg(qmp->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent > 0) {
            text += sent;
            size -= (size_t)sent;
            pass_fd = -1;
            continue;
        }
        if (sent < 0 && errno != EAGAIN && errno != EINTR)
            return error_set_errno(err, ERROR_UNREACHABLE, errno, "QMP");
        int64_t left = deadline - clock_monotonic_ms();
        struct pollfd poller = {.fd = qmp->fd, .events = POLLOUT};
        if (left <= 0 || poll(&poller, 1, (int)left) == 0)
            return error_set(err, ERROR_TIMEOUT, "QMP does not take commands");
    }
    return true;
}

/* Reads what is there, waiting until the deadline for the first byte. */
static bool fill(struct qmp *qmp, int64_t deadline, struct error *err)
{
    for (;;) {
        char piece[65536];
        ssize_t got = recv(qmp->fd, piece, sizeof piece, MSG_DONTWAIT);
        if (got > 0)
            return buffer_append(&qmp->input, piece, (size_t)got, err);
        if (got == 0)
            return error_set(err, ERROR_UNREACHABLE, "QMP: QEMU closed the connection");
        if (errno != EAGAIN && errno != EINTR)
            return error_set_errno(err, ERROR_UNREACHABLE, errno, "QMP");
        int64_t left = deadline - clock_monotonic_ms();
        if (left <= 0)
            return error_set(err, ERROR_TIMEOUT, "QMP: no answer in time");
        struct pollfd poller = {.fd = qmp->fd, .events = POLLIN};
        poll(&poller, 1, (int)left);
    }
}

static bool next_message(struct qmp *qmp, int64_t deadline, json_t **message, struct error *err)
{
    char *end;
    size_t searched = 0;
    while (!(end = qmp->input.size > searched
                       ? memchr(qmp->input.data + searched, '\n', qmp->input.size - searched)
                       : NULL)) {
        searched = qmp->input.size;
        if (!fill(qmp, deadline, err))
            return false;
    }
    size_t size = (size_t)(end - qmp->input.data) + 1;
    json_error_t reason;
    json_t *parsed = json_loadb(qmp->input.data, size, 0, &reason);
    buffer_consume(&qmp->input, size);
    if (!json_is_object(parsed)) {
        json_decref(parsed);
        return error_set(err, ERROR_UNREACHABLE, "QMP: not a JSON object: %s", reason.text);
    }
    *message = parsed;
    return true;
}

/* Takes the message over when it is an event. */
static bool queue_event(struct qmp *qmp, json_t *message)
{
    if (!json_object_get(message, "event"))
        return false;
    if (json_array_size(qmp->events) >= EVENT_LIMIT)
        json_array_remove(qmp->events, 0);
    json_array_append_new(qmp->events, message);
    return true;
}

static bool read_reply(struct qmp *qmp, int64_t id, int64_t deadline, json_t **result,
                       struct error *err)
{
    for (;;) {
        json_t *message;
        if (!next_message(qmp, deadline, &message, err))
            return false;
        if (queue_event(qmp, message))
            continue;
        json_auto_t *reply = message;
        /* the late answer of a command that was given up has another id */
        if (json_integer_value(json_object_get(reply, "id")) != id)
            continue;
        json_t *failure = json_object_get(reply, "error");
        if (failure) {
            const char *text = json_string_value(json_object_get(failure, "desc"));
            return error_set(err, ERROR_REFUSED, "%s", text ? text : "QMP: error without text");
        }
        if (result)
            *result = json_incref(json_object_get(reply, "return"));
        return true;
    }
}

static bool run_command(struct qmp *qmp, const char *command, json_t *arguments, int pass_fd,
                        int timeout_ms, json_t **result, struct error *err)
{
    int64_t deadline = clock_monotonic_ms() + timeout_ms;
    int64_t id = ++qmp->next_id;
    json_auto_t *message = json_pack("{s:s, s:I}", "execute", command, "id", (json_int_t)id);
    if (arguments)
        json_object_set_new(message, "arguments", arguments);
    auto_free char *text = json_dumps(message, JSON_COMPACT);
    if (!text)
        return error_set(err, ERROR_INTERNAL, "%s: arguments are not JSON", command);
    auto_free char *line = memory_format("%s\n", text);
    if (!send_all(qmp, line, strlen(line), pass_fd, deadline, err) ||
        !read_reply(qmp, id, deadline, result, err))
        return error_prefix(err, "%s", command);
    return true;
}

bool qmp_command(struct qmp *qmp, const char *command, json_t *arguments, int timeout_ms,
                 json_t **result, struct error *err)
{
    return run_command(qmp, command, arguments, -1, timeout_ms, result, err);
}

bool qmp_command_fd(struct qmp *qmp, const char *command, json_t *arguments, int fd, int timeout_ms,
                    struct error *err)
{
    return run_command(qmp, command, arguments, fd, timeout_ms, NULL, err);
}

static bool connect_to(const char *path, int *fd, struct error *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path)
        return error_set(err, ERROR_INVALID, "socket path of more than %zu bytes",
                         sizeof address.sun_path - 1);
    memcpy(address.sun_path, path, strlen(path) + 1);
    auto_close int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (sock < 0)
        return error_set_errno(err, ERROR_INTERNAL, errno, "socket");
    if (connect(sock, (const struct sockaddr *)&address, sizeof address) < 0) {
        bool is_over = errno == ECONNREFUSED || errno == ENOENT;
        return error_set_errno(err, is_over ? ERROR_NOT_FOUND : ERROR_UNREACHABLE, errno,
                               "%sconnect", is_over ? "QEMU has ended: " : "");
    }
    *fd = take_fd(&sock);
    return true;
}

bool qmp_has_ended(const char *socket_path)
{
    struct error err;
    auto_close int sock = -1;
    return !connect_to(socket_path, &sock, &err) && err.code == ERROR_NOT_FOUND;
}

/* QEMU serves one client of a monitor at a time: the greeting comes when it is our turn. An event
 * of a QEMU that has just begun can come before it. */
static bool greet(struct qmp *qmp, int timeout_ms, struct error *err)
{
    int64_t deadline = clock_monotonic_ms() + timeout_ms;
    json_t *message;
    do {
        if (!next_message(qmp, deadline, &message, err))
            return false;
    } while (queue_event(qmp, message));
    json_auto_t *greeting = message;
    if (!json_is_object(json_object_get(greeting, "QMP")))
        return error_set(err, ERROR_UNREACHABLE, "QMP: no greeting");
    int64_t left = deadline - clock_monotonic_ms();
    return qmp_command(qmp, "qmp_capabilities", NULL, left > 0 ? (int)left : 0, NULL, err);
}

bool qmp_open(struct qmp **out, const char *socket_path, int timeout_ms, struct error *err)
{
    int fd;
    if (!connect_to(socket_path, &fd, err))
        return error_prefix(err, "%s", socket_path);
    struct qmp *qmp = memory_alloc(sizeof *qmp);
    qmp->fd = fd;
    qmp->events = json_array();
    buffer_init(&qmp->input, MESSAGE_LIMIT);
    if (!greet(qmp, timeout_ms, err)) {
        qmp_close(qmp);
        return error_prefix(err, "%s", socket_path);
    }
    *out = qmp;
    return true;
}

void qmp_close(struct qmp *qmp)
{
    if (!qmp)
        return;
    close(qmp->fd);
    json_decref(qmp->events);
    buffer_done(&qmp->input);
    free(qmp);
}

static bool matches(const json_t *message, const char *event, const char *key, const char *value)
{
    const char *name = json_string_value(json_object_get(message, "event"));
    if (!name || strcmp(name, event) != 0)
        return false;
    if (!key)
        return true;
    const json_t *member = json_object_get(json_object_get(message, "data"), key);
    return value ? json_is_string(member) && strcmp(json_string_value(member), value) == 0
                 : member != NULL;
}

static bool take_queued(struct qmp *qmp, const char *event, const char *key, const char *value,
                        json_t **data)
{
    for (size_t i = 0; i < json_array_size(qmp->events); i++) {
        json_t *message = json_array_get(qmp->events, i);
        if (!matches(message, event, key, value))
            continue;
        if (data) {
            json_t *member = json_object_get(message, "data");
            *data = member ? json_incref(member) : json_object();
        }
        json_array_remove(qmp->events, i);
        return true;
    }
    return false;
}

bool qmp_wait_event(struct qmp *qmp, const char *event, const char *key, const char *value,
                    int timeout_ms, json_t **data, struct error *err)
{
    int64_t deadline = clock_monotonic_ms() + timeout_ms;
    while (!take_queued(qmp, event, key, value, data)) {
        json_t *message;
        if (!next_message(qmp, deadline, &message, err))
            return error_prefix(err, "waiting for %s", event);
        if (!queue_event(qmp, message))
            json_decref(message);
    }
    return true;
}

bool qmp_take_event(struct qmp *qmp, const char *event, const char *key, const char *value,
                    json_t **data)
{
    json_t *message;
    struct error nothing_more;
    while (next_message(qmp, 0, &message, &nothing_more)) {
        if (!queue_event(qmp, message))
            json_decref(message);
    }
    return take_queued(qmp, event, key, value, data);
}

void qmp_forget_events(struct qmp *qmp, const char *event)
{
    for (size_t i = json_array_size(qmp->events); i-- > 0;) {
        if (matches(json_array_get(qmp->events, i), event, NULL, NULL))
            json_array_remove(qmp->events, i);
    }
}
