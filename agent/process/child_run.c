/* Programs that run to their end: collects their output within a limit and a time. */
#include "agent/process/child.h"

#include "agent/process/child_spawn.h"
#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

enum { COMPLAINT_LIMIT = 4096 };

struct run {
    const char *program;
    pid_t pid;
    int pid_fd;
    int output_fd, complaint_fd; /* read ends, not blocking */
    struct buffer output, complaint;
};

static void run_done(struct run *run)
{
    buffer_done(&run->output);
    buffer_done(&run->complaint);
    cleanup_close(&run->pid_fd);
    cleanup_close(&run->output_fd);
    cleanup_close(&run->complaint_fd);
}

/* Takes what is there; complaints beyond their limit are dropped, output beyond its is an error. */
static bool collect(struct run *run, struct error *err)
{
    char piece[16384];
    ssize_t got;
    while ((got = read(run->output_fd, piece, sizeof piece)) > 0) {
        if (!buffer_append(&run->output, piece, (size_t)got, err))
            return error_prefix(err, "output of %s", run->program);
    }
    if (got == 0)
        close(take_fd(&run->output_fd));
    while ((got = read(run->complaint_fd, piece, sizeof piece)) > 0) {
        size_t room = run->complaint.ceiling - run->complaint.size;
        size_t size = (size_t)got < room ? (size_t)got : room;
        if (!buffer_append(&run->complaint, piece, size, err))
            return false;
    }
    if (got == 0)
        close(take_fd(&run->complaint_fd));
    return true;
}

/* Until the process has ended. What it left in the pipes is collected; a grandchild that keeps them
 * open is not waited for. */
static bool follow(struct run *run, int timeout_ms, struct error *err)
{
    int64_t deadline = clock_monotonic_ms() + timeout_ms;
    bool has_ended = false;
    while (!has_ended) {
        int64_t left = deadline - clock_monotonic_ms();
        if (left <= 0)
            return error_set(err, ERROR_TIMEOUT, "%s did not end within %d ms", run->program,
                             timeout_ms);
        struct pollfd pollers[] = {{.fd = run->pid_fd, .events = POLLIN},
                                   {.fd = run->output_fd, .events = POLLIN},
                                   {.fd = run->complaint_fd, .events = POLLIN}};
        if (poll(pollers, 3, (int)left) < 0 && errno != EINTR)
            return error_set_errno(err, ERROR_INTERNAL, errno, "poll");
        has_ended = pollers[0].revents != 0;
        if (!collect(run, err))
            return false;
    }
    return true;
}

static bool judge(const struct run *run, int status, struct error *err)
{
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return true;
    char *line = run->complaint.data;
    if (line)
        line[strcspn(line, "\n")] = '\0';
    const char *reason = line && *line ? line : "no message";
    if (WIFSIGNALED(status))
        return error_set(err, ERROR_INTERNAL, "%s was killed by signal %d: %s", run->program,
                         WTERMSIG(status), reason);
    return error_set(err, ERROR_INTERNAL, "%s ended with %d: %s", run->program, WEXITSTATUS(status),
                     reason);
}

static bool begin(struct run *run, const char *const argv[], struct error *err)
{
    int output[2], complaint[2];
    if (pipe2(output, O_CLOEXEC | O_NONBLOCK) < 0)
        return error_set_errno(err, ERROR_INTERNAL, errno, "pipe");
    run->output_fd = output[0];
    auto_close int output_end = output[1];
    if (pipe2(complaint, O_CLOEXEC | O_NONBLOCK) < 0)
        return error_set_errno(err, ERROR_INTERNAL, errno, "pipe");
    run->complaint_fd = complaint[0];
    auto_close int complaint_end = complaint[1];
    /* a program that writes must see blocking pipes */
    if (fcntl(output_end, F_SETFL, 0) < 0 || fcntl(complaint_end, F_SETFL, 0) < 0)
        return error_set_errno(err, ERROR_INTERNAL, errno, "fcntl");
    struct child_spawn spawn = {
        .argv = argv, .output_fd = output_end, .complaint_fd = complaint_end, .keep_fd = -1};
    return child_spawn_attached(&spawn, &run->pid, err);
}

bool child_run(const char *const argv[], int timeout_ms, size_t limit, char **output,
               struct error *err)
{
    __attribute__((cleanup(run_done))) struct run run = {
        .program = argv[0], .pid_fd = -1, .output_fd = -1, .complaint_fd = -1};
    buffer_init(&run.output, limit);
    buffer_init(&run.complaint, COMPLAINT_LIMIT);
    if (!begin(&run, argv, err))
        return false;
    run.pid_fd = pidfd_open(run.pid, 0);
    bool is_followed = run.pid_fd >= 0 ? follow(&run, timeout_ms, err)
                                       : error_set_errno(err, ERROR_INTERNAL, errno, "pidfd_open");
    if (!is_followed)
        kill(-run.pid, SIGKILL);
    int status;
    while (waitpid(run.pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (!is_followed || !judge(&run, status, err))
        return false;
    if (output)
        *output = buffer_take(&run.output);
    return true;
}
