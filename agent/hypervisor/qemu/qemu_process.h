/* Processes of a domain that outlive the agent: its QEMU, and a block server per VHD disk. Each
 * holds a lock on its pid file as long as it lives (QEMU does that itself), which finds it again
 * without a doubt after a restart of the agent. */
#pragma once

#include "base/error.h"

#include <sys/types.h>

/* 0 when none lives. */
pid_t qemu_process_find(const char *pid_file);
/* SIGTERM, after `grace_ms` SIGKILL; waits until it is gone. None is fine. Also finds a process
 * that was started with this pid file and has not come to write it. */
bool qemu_process_end(const char *pid_file, int grace_ms, struct error *err) must_check;
/* The last line of a process's log, for an error text. */
void qemu_process_last_line(const char *log_path, char out[200]);
