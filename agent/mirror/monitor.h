/* One QEMU's block monitor, shared by the threads of a transfer: one connection, opened when it is
 * needed. A new connection has a new generation: events may have been missed in between, and the
 * QEMU may be another one. */
#pragma once

#include "agent/qmp/qmp.h"
#include "base/error.h"

#include <stdint.h>

struct monitor;

struct monitor *monitor_new(const char *socket_path);
void monitor_free(struct monitor *monitor); /* NULL is fine */
const char *monitor_path(const struct monitor *monitor);
/* As qmp_command, with the transfer's usual time limit; any thread. */
bool monitor_command(struct monitor *monitor, const char *command, json_t *arguments,
                     json_t **result, struct error *err) must_check;
/* 0 before the first connection. */
uint64_t monitor_generation(struct monitor *monitor);
/* Has a guest write failed at that node since the last call? Drops what nobody asks for. */
bool monitor_write_failed(struct monitor *monitor, const char *node);
void monitor_disconnect(struct monitor *monitor);
