/* Children that die with the agent, and detached processes that do not; see child.h. */
#include "agent/process/child.h"

#include "agent/process/child_spawn.h"
#include "base/cleanup.h"
#include "base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

struct child {
    pid_t pid;
    int pid_fd;
    char *program;
    char *log_path;
    off_t log_start;
    pthread_mutex_t lock; /* of the members below */
    bool is_reaped;
    int status; /* of waitpid, once reaped */
};

bool child_start(const char *const argv[], const char *log_path, int keep_fd, struct child **out,
                 struct error *err)
{
    auto_close int log = -1;
    off_t log_start;
    if (!child_log_open(log_path, &log, &log_start, err))
        return false;
    struct child_spawn spawn = {
        .argv = argv, .output_fd = log, .complaint_fd = log, .keep_fd = keep_fd};
    pid_t pid;
    if (!child_spawn_attached(&spawn, &pid, err))
        return false;
    int pid_fd = pidfd_open(pid, 0);
    if (pid_fd < 0) {
        int saved = errno;
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        return error_set_errno(err, ERROR_INTERNAL, saved, "pidfd_open");
    }
    struct child *child = memory_alloc(sizeof *child);
    child->pid = pid;
    child->pid_fd = pid_fd;
    child->program = memory_copy_text(argv[0]);
    child->log_path = memory_copy_text(log_path);
    child->log_start = log_start;
    pthread_mutex_init(&child->lock, NULL);
    *out = child;
    return true;
}

pid_t child_pid(const struct child *child)
{
    return child->pid;
}

bool child_is_alive(struct child *child)
{
    pthread_mutex_lock(&child->lock);
    if (!child->is_reaped)
        child->is_reaped = waitpid(child->pid, &child->status, WNOHANG) == child->pid;
    bool is_alive = !child->is_reaped;
    pthread_mutex_unlock(&child->lock);
    return is_alive;
}

static bool set_ended(const char *program, const char *log_path, off_t log_start, struct error *err)
{
    char line[CHILD_LOG_LINE];
    child_log_last_line(log_path, log_start, line);
    return error_set(err, ERROR_INTERNAL, "%s ended: %s", program, line);
}

static bool set_late(const char *program, const char *path, int timeout_ms, struct error *err)
{
    return error_set(err, ERROR_TIMEOUT, "%s did not make %s within %d ms", program, path,
                     timeout_ms);
}

static bool was_killed(struct child *child)
{
    return !child_is_alive(child) && WIFSIGNALED(child->status) &&
           WTERMSIG(child->status) == SIGKILL;
}

bool child_wait_for_path(struct child *child, const char *path, int timeout_ms, struct error *err)
{
    bool has_ended;
    if (!child_await_path(child->pid_fd, path, timeout_ms, &has_ended))
        return set_late(child->program, path, timeout_ms, err);
    if (has_ended && was_killed(child))
        return error_set(err, ERROR_UNREACHABLE, "%s was killed while it started", child->program);
    return has_ended ? set_ended(child->program, child->log_path, child->log_start, err) : true;
}

/* True once the process has ended (it may still be a zombie). */
static bool wait_ended(int pid_fd, int timeout_ms)
{
    struct pollfd poller = {.fd = pid_fd, .events = POLLIN};
    int ready;
    do
        ready = poll(&poller, 1, timeout_ms);
    while (ready < 0 && errno == EINTR);
    return ready > 0;
}

void child_stop(struct child *child, int grace_ms)
{
    if (!child)
        return;
    if (child_is_alive(child)) {
        kill(-child->pid, SIGTERM);
        if (!wait_ended(child->pid_fd, grace_ms))
            kill(-child->pid, SIGKILL);
        while (!child->is_reaped && waitpid(child->pid, &child->status, 0) < 0 && errno == EINTR)
            ;
    }
    close(child->pid_fd);
    pthread_mutex_destroy(&child->lock);
    free(child->program);
    free(child->log_path);
    free(child);
}

bool child_start_detached(const char *const argv[], const char *log_path, const char *ready_path,
                          int timeout_ms, pid_t *pid, struct error *err)
{
    auto_close int log = -1;
    off_t log_start;
    if (!child_log_open(log_path, &log, &log_start, err))
        return false;
    struct child_spawn spawn = {.argv = argv, .output_fd = log, .complaint_fd = log, .keep_fd = -1};
    pid_t started;
    if (!child_spawn_detached(&spawn, &started, err))
        return false;
    auto_close int pid_fd = pidfd_open(started, 0);
    if (pid_fd < 0) /* it has ended and was reaped by init */
        return set_ended(argv[0], log_path, log_start, err);
    bool has_ended;
    if (!child_await_path(pid_fd, ready_path, timeout_ms, &has_ended)) {
        pidfd_send_signal(pid_fd, SIGKILL, NULL, 0);
        return set_late(argv[0], ready_path, timeout_ms, err);
    }
    if (has_ended)
        return set_ended(argv[0], log_path, log_start, err);
    *pid = started;
    return true;
}
