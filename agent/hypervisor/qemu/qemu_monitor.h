/* The driver's conversations with a domain's QEMU. */
#pragma once

#include "agent/hypervisor/qemu/qemu_host.h"
#include "agent/qmp/qmp.h"
#include "protocol/vocabulary.h"

enum { QEMU_COMMAND_MS = 10000 };

/* The driver's own monitor. ERROR_NOT_FOUND: no such domain; ERROR_CONFLICT: it does not run. */
bool qemu_monitor_open(const struct hypervisor *hv, const char *uuid, struct qmp **out,
                       struct error *err) must_check;
static inline void cleanup_qmp(struct qmp **qmp)
{
    qmp_close(*qmp);
}
#define auto_qmp __attribute__((cleanup(cleanup_qmp)))

/* QEMU's run state ("running", "postmigrate" ...). */
bool qemu_monitor_status(struct qmp *qmp, char out[32], struct error *err) must_check;
/* Status of the migration in or out ("none" when there was none yet); *is_final: it will not change
 * by itself. */
bool qemu_monitor_migration(struct qmp *qmp, char out[32], bool *is_final,
                            struct error *err) must_check;
/* Switches migration capabilities on; names end with NULL. */
bool qemu_monitor_enable(struct qmp *qmp, const char *const names[], struct error *err) must_check;
/* Waits until the migration has completed. */
bool qemu_monitor_await_migration(struct qmp *qmp, int timeout_ms, struct error *err) must_check;

/* State of a domain for the inventory, through a monitor of its own, from any thread. A QEMU that
 * lives and does not answer counts as running. */
enum domain_state qemu_monitor_domain_state(struct hypervisor *hv, const char *uuid);
/* As qemu_monitor_open for a QEMU that was just started: when it ended instead, the last line of
 * its log is the error. */
bool qemu_monitor_open_new(const struct hypervisor *hv, const char *uuid, struct qmp **out,
                           struct error *err) must_check;
