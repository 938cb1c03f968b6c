/* What a child leaves behind for its starter: log lines and ready files. */
#include "agent/process/child_spawn.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/unix_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool child_log_open(const char *path, int *fd, off_t *start, struct error *err)
{
    int log = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (log < 0)
        return error_set_errno(err, ERROR_INTERNAL, errno, "%s", path);
    *start = lseek(log, 0, SEEK_END);
    *fd = log;
    return true;
}

/* Keeps of the text only its last line that is not empty. */
static void cut_to_last_line(char *text, size_t size, char out[CHILD_LOG_LINE])
{
    while (size && strchr("\r\n \t", text[size - 1]))
        size--;
    text[size] = '\0';
    char *line = strrchr(text, '\n');
    snprintf(out, CHILD_LOG_LINE, "%.*s", CHILD_LOG_LINE - 1, line ? line + 1 : text);
}

void child_log_last_line(const char *path, off_t start, char out[CHILD_LOG_LINE])
{
    snprintf(out, CHILD_LOG_LINE, "no output");
    auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    char text[4096];
    off_t end = fd < 0 ? 0 : lseek(fd, 0, SEEK_END);
    if (end <= start)
        return;
    off_t room = (off_t)sizeof text - 1;
    ssize_t got = pread(fd, text, sizeof text - 1, end - start > room ? end - room : start);
    if (got > 0)
        cut_to_last_line(text, (size_t)got, out);
}

bool child_path_is_ready(const char *path)
{
    struct stat info;
    if (stat(path, &info) < 0)
        return false;
    return !S_ISSOCK(info.st_mode) || unix_socket_is_listening(path);
}

bool child_await_path(int pid_fd, const char *path, int timeout_ms, bool *has_ended)
{
    const int step_ms = 5;
    int64_t deadline = clock_monotonic_ms() + timeout_ms;
    *has_ended = false;
    for (;;) {
        if (child_path_is_ready(path))
            return true;
        struct pollfd poller = {.fd = pid_fd, .events = POLLIN};
        if (poll(&poller, 1, step_ms) > 0) {
            *has_ended = true;
            return true;
        }
        if (clock_monotonic_ms() >= deadline)
            return false;
    }
}
