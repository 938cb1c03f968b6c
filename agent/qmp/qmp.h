/* QMP client: one connection to one monitor socket; used by one thread at a time. Events that
 * arrive while a command waits are queued. */
#pragma once

#include "base/error.h"

#include <jansson.h>
#include <stdint.h>

struct qmp;

/* ERROR_NOT_FOUND when nobody listens: a QEMU that has started listens until it ends. */
bool qmp_open(struct qmp **out, const char *socket_path, int timeout_ms,
              struct error *err) must_check;
void qmp_close(struct qmp *qmp); /* NULL is fine */
/* True only when it is sure: nobody listens at that monitor. */
bool qmp_has_ended(const char *socket_path);
/* Sends and waits for the return. `arguments` is stolen (may be NULL); *result (may be NULL when
 * unwanted) is a new reference. A QMP error is ERROR_REFUSED with QEMU's text; EOF is
 * ERROR_UNREACHABLE. */
bool qmp_command(struct qmp *qmp, const char *command, json_t *arguments, int timeout_ms,
                 json_t **result, struct error *err) must_check;
/* The same, with a file descriptor in the message (SCM_RIGHTS), for getfd. */
bool qmp_command_fd(struct qmp *qmp, const char *command, json_t *arguments, int fd, int timeout_ms,
                    struct error *err) must_check;
/* Waits for an event of that name whose data member `key` equals `value` (both may be NULL);
 * earlier queued ones count. *data is a new reference (may be NULL when unwanted). */
bool qmp_wait_event(struct qmp *qmp, const char *event, const char *key, const char *value,
                    int timeout_ms, json_t **data, struct error *err) must_check;
/* Drops queued events of that name. */
void qmp_forget_events(struct qmp *qmp, const char *event);
/* True when such an event has come already; never waits longer than it takes to read what is there.
 * *data as above. */
bool qmp_take_event(struct qmp *qmp, const char *event, const char *key, const char *value,
                    json_t **data);
