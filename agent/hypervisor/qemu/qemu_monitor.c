/* QMP conversations of the driver; see qemu_monitor.h. */
#include "agent/hypervisor/qemu/qemu_monitor.h"

#include "agent/hypervisor/qemu/qemu_folder.h"
#include "agent/hypervisor/qemu/qemu_process.h"
#include "base/clock.h"

#include <stdio.h>
#include <string.h>

enum { OPEN_MS = 15000, STATE_MS = 1000 };

bool qemu_monitor_open(const struct hypervisor *hv, const char *uuid, struct qmp **out,
                       struct error *err)
{
    char path[QEMU_FOLDER_PATH];
    if (!qemu_folder_exists(hv, uuid))
        return error_set(err, ERROR_NOT_FOUND, "no domain %s on this host", uuid);
    qemu_folder_path(hv, uuid, "qemu.pid", path);
    if (!qemu_process_find(path))
        return error_set(err, ERROR_CONFLICT, "domain %s does not run", uuid);
    qemu_folder_path(hv, uuid, "qmp.sock", path);
    return qmp_open(out, path, OPEN_MS, err);
}

static bool copy_member(const json_t *object, const char *key, const char *missing, char out[32],
                        struct error *err)
{
    const char *text = json_string_value(json_object_get(object, key));
    if (!text)
        text = missing;
    if (!text || strlen(text) >= 32)
        return error_set(err, ERROR_INTERNAL, "QMP: no \"%s\" in the answer", key);
    memcpy(out, text, strlen(text) + 1);
    return true;
}

bool qemu_monitor_status(struct qmp *qmp, char out[32], struct error *err)
{
    json_auto_t *answer = NULL;
    return qmp_command(qmp, "query-status", NULL, QEMU_COMMAND_MS, &answer, err) &&
           copy_member(answer, "status", NULL, out, err);
}

bool qemu_monitor_migration(struct qmp *qmp, char out[32], bool *is_final, struct error *err)
{
    json_auto_t *answer = NULL;
    char status[32];
    if (!qmp_command(qmp, "query-migrate", NULL, QEMU_COMMAND_MS, &answer, err) ||
        !copy_member(answer, "status", "none", status, err))
        return false;
    static const char *const final[] = {"none", "completed", "failed", "cancelled"};
    *is_final = false;
    for (size_t i = 0; i < sizeof final / sizeof final[0]; i++)
        *is_final |= strcmp(status, final[i]) == 0;
    memcpy(out, status, sizeof status);
    return true;
}

bool qemu_monitor_enable(struct qmp *qmp, const char *const names[], struct error *err)
{
    json_t *list = json_array();
    for (size_t i = 0; names[i]; i++)
        json_array_append_new(list, json_pack("{s:s, s:b}", "capability", names[i], "state", 1));
    return qmp_command(qmp, "migrate-set-capabilities", json_pack("{s:o}", "capabilities", list),
                       QEMU_COMMAND_MS, NULL, err);
}

bool qemu_monitor_await_migration(struct qmp *qmp, int timeout_ms, struct error *err)
{
    int64_t deadline = clock_monotonic_ms() + timeout_ms;
    char status[32];
    for (;;) {
        bool is_final;
        if (!qemu_monitor_migration(qmp, status, &is_final, err))
            return false;
        if (strcmp(status, "completed") == 0)
            return true;
        if (is_final && strcmp(status, "none") != 0)
            return error_set(err, ERROR_INTERNAL, "QEMU's migration: %s", status);
        if (clock_monotonic_ms() >= deadline)
            return error_set(err, ERROR_TIMEOUT, "QEMU's migration is %s after %d ms", status,
                             timeout_ms);
        clock_sleep_ms(1);
    }
}

static enum domain_state state_of(const char *status)
{
    if (strcmp(status, "running") == 0 || strcmp(status, "debug") == 0)
        return DOMAIN_RUNNING;
    if (strcmp(status, "shutdown") == 0)
        return DOMAIN_SHUTDOWN;
    if (strcmp(status, "guest-panicked") == 0 || strcmp(status, "internal-error") == 0)
        return DOMAIN_CRASHED;
    return DOMAIN_PAUSED;
}

enum domain_state qemu_monitor_domain_state(struct hypervisor *hv, const char *uuid)
{
    char path[QEMU_FOLDER_PATH], status[32];
    qemu_folder_path(hv, uuid, "qemu.pid", path);
    if (!qemu_process_find(path))
        return DOMAIN_HALTED;
    qemu_folder_path(hv, uuid, "qmp-state.sock", path);
    struct error err;
    struct qmp *qmp = NULL;
    pthread_mutex_lock(&hv->state_lock);
    bool is_known = qmp_open(&qmp, path, STATE_MS, &err) && qemu_monitor_status(qmp, status, &err);
    qmp_close(qmp);
    pthread_mutex_unlock(&hv->state_lock);
    return is_known ? state_of(status) : DOMAIN_RUNNING;
}

bool qemu_monitor_open_new(const struct hypervisor *hv, const char *uuid, struct qmp **out,
                           struct error *err)
{
    if (qemu_monitor_open(hv, uuid, out, err))
        return true;
    char path[QEMU_FOLDER_PATH], line[200];
    qemu_folder_path(hv, uuid, "qemu.pid", path);
    if (qemu_process_find(path))
        return false;
    qemu_folder_path(hv, uuid, "qemu.log", path);
    qemu_process_last_line(path, line);
    return error_set(err, ERROR_INTERNAL, "QEMU ended: %s", line);
}
