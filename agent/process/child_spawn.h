/* Inside of agent/process: fork and exec, the spawner thread, and log tails. */
#pragma once

#include "base/error.h"

#include <sys/types.h>

enum { CHILD_LOG_LINE = 200 };

struct child_spawn {
    const char *const *argv;
    int output_fd;    /* standard output */
    int complaint_fd; /* standard error */
    int keep_fd;      /* stays open under its number; -1 = none */
};

/* Forked by the spawner thread; dies with this process. */
bool child_spawn_attached(const struct child_spawn *spawn, pid_t *pid,
                          struct error *err) must_check;
/* Forked twice; belongs to nobody here. */
bool child_spawn_detached(const struct child_spawn *spawn, pid_t *pid,
                          struct error *err) must_check;

/* Opens (0600, append) and tells where the new process's lines begin. */
bool child_log_open(const char *path, int *fd, off_t *start, struct error *err) must_check;
/* The last line that is not empty, from `start` on; "no output" when there is none. */
void child_log_last_line(const char *path, off_t start, char out[CHILD_LOG_LINE]);

/* True when `path` exists and, if it is a unix socket of this network namespace, listens. */
bool child_path_is_ready(const char *path);
/* Waits until the path is ready, or the process behind `pid_fd` ends (*has_ended). False: neither
 * in time. */
bool child_await_path(int pid_fd, const char *path, int timeout_ms, bool *has_ended);
