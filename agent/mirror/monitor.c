/* The shared block monitor. */
#include "agent/mirror/monitor.h"

#include "base/memory.h"

#include <pthread.h>
#include <string.h>

/* Longer than any command may take while QEMU is well: with a dead mirror QEMU waits for the
 * relay's watchdog, which closes within the stall limit; and one that has just been started greets
 * before it answers. */
enum { ANSWER_MS = 15000 };

struct monitor {
    pthread_mutex_t lock;
    char *path;
    struct qmp *qmp;
    uint64_t generation;
};

struct monitor *monitor_new(const char *socket_path)
{
    struct monitor *monitor = memory_alloc(sizeof *monitor);
    pthread_mutex_init(&monitor->lock, NULL);
    monitor->path = memory_copy_text(socket_path);
    return monitor;
}

void monitor_free(struct monitor *monitor)
{
    if (!monitor)
        return;
    qmp_close(monitor->qmp);
    pthread_mutex_destroy(&monitor->lock);
    free(monitor->path);
    free(monitor);
}

const char *monitor_path(const struct monitor *monitor)
{
    return monitor->path;
}

static bool connect_locked(struct monitor *monitor, struct error *err)
{
    if (monitor->qmp)
        return true;
    if (!qmp_open(&monitor->qmp, monitor->path, ANSWER_MS, err))
        return false;
    monitor->generation++;
    return true;
}

bool monitor_command(struct monitor *monitor, const char *command, json_t *arguments,
                     json_t **result, struct error *err)
{
    pthread_mutex_lock(&monitor->lock);
    bool is_done = false;
    if (connect_locked(monitor, err)) {
        is_done = qmp_command(monitor->qmp, command, arguments, ANSWER_MS, result, err);
        if (!is_done && err->code == ERROR_UNREACHABLE) {
            qmp_close(monitor->qmp);
            monitor->qmp = NULL;
        }
    } else {
        json_decref(arguments);
    }
    pthread_mutex_unlock(&monitor->lock);
    return is_done;
}

uint64_t monitor_generation(struct monitor *monitor)
{
    pthread_mutex_lock(&monitor->lock);
    uint64_t generation = monitor->generation;
    pthread_mutex_unlock(&monitor->lock);
    return generation;
}

static void forget_noise(struct qmp *qmp)
{
    static const char *const noise[] = {
        "JOB_STATUS_CHANGE",
        "BLOCK_JOB_READY",
        "BLOCK_JOB_COMPLETED",
        "BLOCK_JOB_CANCELLED",
        "BLOCK_JOB_ERROR",
        "STOP",
        "RESUME",
        "BLOCK_JOB_PENDING",
        "BLOCK_EXPORT_DELETED",
    };
    for (size_t i = 0; i < sizeof noise / sizeof noise[0]; i++)
        qmp_forget_events(qmp, noise[i]);
}

bool monitor_write_failed(struct monitor *monitor, const char *node)
{
    bool has_failed = false;
    pthread_mutex_lock(&monitor->lock);
    json_t *data;
    while (monitor->qmp &&
           qmp_take_event(monitor->qmp, "BLOCK_IO_ERROR", "node-name", node, &data)) {
        const char *operation = json_string_value(json_object_get(data, "operation"));
        has_failed = has_failed || !operation || strcmp(operation, "read") != 0;
        json_decref(data);
    }
    if (monitor->qmp)
        forget_noise(monitor->qmp);
    pthread_mutex_unlock(&monitor->lock);
    return has_failed;
}

void monitor_disconnect(struct monitor *monitor)
{
    pthread_mutex_lock(&monitor->lock);
    qmp_close(monitor->qmp);
    monitor->qmp = NULL;
    pthread_mutex_unlock(&monitor->lock);
}
