/* Child processes of the agent: nbdkit, qemu-storage-daemon, qemu-nbd. They die with the agent
 * (PR_SET_PDEATHSIG from a spawner thread that lives as long as the process), run in their own
 * session, and are reaped here. Domain QEMUs are no children of this kind: they outlive the agent.
 */
#pragma once

#include "base/error.h"

#include <sys/types.h>

struct child;

/* Starts the spawner thread; once per process, before any child. */
bool child_start_spawner(struct error *err) must_check;
/* argv[0] is looked up in PATH; stdin is /dev/null, stdout and stderr are appended to `log_path`
 * (created 0600). `keep_fd` (or -1) stays open in the child under the same number. */
bool child_start(const char *const argv[], const char *log_path, int keep_fd, struct child **out,
                 struct error *err) must_check;
pid_t child_pid(const struct child *child);
bool child_is_alive(struct child *child);
/* Waits until `path` exists (a socket it makes) or the child exits; its last log line is the error.
 * ERROR_UNREACHABLE when somebody killed it, which says nothing against another attempt. */
bool child_wait_for_path(struct child *child, const char *path, int timeout_ms,
                         struct error *err) must_check;
/* SIGTERM, after `grace_ms` SIGKILL, reap, free; NULL is fine. */
void child_stop(struct child *child, int grace_ms);

/* A process of its own that outlives the agent (a domain's QEMU): double fork, setsid, log file.
 * *pid is the process itself. Fails with its last log line when it exits within the time it takes
 * to make `ready_path`. */
bool child_start_detached(const char *const argv[], const char *log_path, const char *ready_path,
                          int timeout_ms, pid_t *pid, struct error *err) must_check;

/* Runs to the end; stdout (at most `limit` bytes) in *output (owned, may be NULL to drop); a
 * non-zero exit is an error with the first line of stderr. */
bool child_run(const char *const argv[], int timeout_ms, size_t limit, char **output,
               struct error *err) must_check;
