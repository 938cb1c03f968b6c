/* Finding and ending detached processes; see qemu_process.h. */
#include "agent/hypervisor/qemu/qemu_process.h"

#include "base/cleanup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

enum { KILLED_WAIT_MS = 30000 };

pid_t qemu_process_find(const char *pid_file)
{
    auto_close int fd = open(pid_file, O_RDONLY | O_CLOEXEC);
    struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET};
    if (fd < 0 || fcntl(fd, F_GETLK, &lock) < 0 || lock.l_type == F_UNLCK)
        return 0;
    return lock.l_pid;
}

/* Was the process started with this pid file (and may not have come to write it)? */
static bool has_pid_file(const char *pid, const char *pid_file)
{
    char path[280];
    snprintf(path, sizeof path, "/proc/%s/cmdline", pid);
    auto_fclose FILE *file = fopen(path, "re");
    auto_free char *word = NULL;
    size_t capacity = 0;
    bool is_next = false;
    while (file && getdelim(&word, &capacity, '\0', file) > 0) {
        if (is_next && strcmp(word, pid_file) == 0)
            return true;
        is_next = strcmp(word, "-pidfile") == 0 || strcmp(word, "--pidfile") == 0;
    }
    return false;
}

static pid_t find_by_argument(const char *pid_file)
{
    DIR *processes = opendir("/proc");
    pid_t found = 0;
    const struct dirent *entry;
    while (processes && !found && (entry = readdir(processes))) {
        if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9' &&
            has_pid_file(entry->d_name, pid_file))
            found = (pid_t)strtol(entry->d_name, NULL, 10);
    }
    if (processes)
        closedir(processes);
    return found;
}

static bool wait_gone(int pid_fd, int timeout_ms)
{
    struct pollfd poller = {.fd = pid_fd, .events = POLLIN};
    int ready;
    do
        ready = poll(&poller, 1, timeout_ms);
    while (ready < 0 && errno == EINTR);
    return ready > 0;
}

bool qemu_process_end(const char *pid_file, int grace_ms, struct error *err)
{
    pid_t pid = qemu_process_find(pid_file);
    if (!pid)
        pid = find_by_argument(pid_file);
    auto_close int pid_fd = pid ? pidfd_open(pid, 0) : -1;
    if (pid_fd < 0)
        return true;
    if (pid != qemu_process_find(pid_file) && pid != find_by_argument(pid_file))
        return true; /* it ended before pid_fd was its own */
    if (pidfd_send_signal(pid_fd, SIGTERM, NULL, 0) == 0 && wait_gone(pid_fd, grace_ms))
        return true;
    if (pidfd_send_signal(pid_fd, SIGKILL, NULL, 0) < 0 && errno != ESRCH)
        return error_set_errno(err, ERROR_INTERNAL, errno, "cannot kill process %d", pid);
    if (!wait_gone(pid_fd, KILLED_WAIT_MS))
        return error_set(err, ERROR_TIMEOUT, "process %d does not end although it was killed", pid);
    return true;
}

void qemu_process_last_line(const char *log_path, char out[200])
{
    snprintf(out, 200, "no output");
    auto_fclose FILE *log = fopen(log_path, "re");
    char line[512];
    while (log && fgets(line, sizeof line, log)) {
        line[strcspn(line, "\r\n")] = '\0';
        if (line[0])
            snprintf(out, 200, "%.199s", line);
    }
}
