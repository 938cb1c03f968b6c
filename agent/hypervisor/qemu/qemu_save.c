/* save: RAM passes while the guest runs, then in the pause
 *
 *   stop            no vCPU runs, the block layer is drained and flushed
 *   on_suspended    the mirrors end
 *   migrate         QEMU writes its device state (the RAM is shared, so not part of it) and
 *                   inactivates its images
 *   release         VHD servers flush and close
 *   SUSPENDED       the destination may open its disks
 *   last pass       exact, as nothing writes to the RAM any more
 *   device state
 *
 * A save that is not live has no passes before the pause, and the last one is of all the RAM.
 *
 * QEMU is in "postmigrate" then; `cont` takes images and guest back. */
#include "agent/hypervisor/qemu/qemu_save.h"

#include "agent/hypervisor/qemu/qemu_disk.h"
#include "agent/hypervisor/qemu/qemu_domain.h"
#include "agent/hypervisor/qemu/qemu_folder.h"
#include "agent/hypervisor/qemu/qemu_monitor.h"
#include "agent/hypervisor/qemu/ram_scan.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    PASS_LIMIT = 20,
    DEVICES_MS = 30000,
    TICK_MS = 200,
    LAST_PASS_THREADS = 4,
};
static const uint64_t SMALL_BYTES = 2 << 20; /* such a rest is sent in the pause */

struct save {
    struct hypervisor *hv;
    bool is_live;
    struct qemu_config config;
    const struct save_hooks *hooks;
    struct qmp *qmp;
    int ram_fd;
    struct ram_writer writer;
    bool has_writer;
    struct ram_scan *scan;
    struct memory_progress progress;
    pthread_mutex_t lock; /* of progress and told_ms: passes have threads */
    int64_t told_ms;
};

static void save_done(struct save *save)
{
    ram_scan_close(save->scan);
    if (save->has_writer)
        ram_writer_done(&save->writer);
    cleanup_close(&save->ram_fd);
    qmp_close(save->qmp);
    qemu_config_done(&save->config);
    pthread_mutex_destroy(&save->lock);
}

static void tell(struct save *save, bool is_due)
{
    if (!save->hooks->on_progress)
        return;
    pthread_mutex_lock(&save->lock);
    int64_t now = clock_monotonic_ms();
    bool is_told = is_due || now - save->told_ms >= TICK_MS;
    if (is_told)
        save->told_ms = now;
    save->progress.sent = save->writer.sent_bytes;
    struct memory_progress progress = save->progress;
    pthread_mutex_unlock(&save->lock);
    if (is_told)
        save->hooks->on_progress(save->hooks->context, &progress);
}

static void tick(void *context)
{
    tell(context, false);
}

static bool open_parts(struct save *save, const char *uuid, int fd, struct error *err)
{
    static const char *const capabilities[] = {"x-ignore-shared", NULL};
    auto_free char *path = qemu_folder_memory_path(save->hv, uuid);
    if (!qemu_domain_load(save->hv, uuid, &save->config, err) ||
        !qemu_monitor_open(save->hv, uuid, &save->qmp, err) ||
        !qemu_monitor_enable(save->qmp, capabilities, err))
        return false;
    save->ram_fd = open(path, O_RDONLY | O_CLOEXEC);
    if (save->ram_fd < 0)
        return error_set_errno(err, ERROR_INTERNAL, errno, "%s", path);
    if (!ram_scan_open(&save->scan, save->ram_fd, save->config.memory_bytes, err) ||
        !ram_writer_init(&save->writer, fd, err))
        return false;
    save->has_writer = true;
    save->writer.is_cancelled = save->hooks->is_cancelled;
    save->writer.context = save->hooks->context;
    save->progress.total = save->config.memory_bytes;
    return true;
}

static bool is_cancelled(const struct save *save)
{
    return save->hooks->is_cancelled && save->hooks->is_cancelled(save->hooks->context);
}

/* Passes until the rest is small or does not shrink any more. */
static bool send_live(struct save *save, struct error *err)
{
    uint64_t before = UINT64_MAX;
    for (int pass = 1; pass <= PASS_LIMIT; pass++) {
        if (is_cancelled(save))
            return error_set(err, ERROR_CANCELLED, "cancelled while the memory is sent");
        uint64_t changed;
        int64_t begin = clock_monotonic_ms();
        if (!ram_scan_pass(save->scan, &save->writer, 1, tick, save, &changed, err))
            return false;
        uint64_t took_ms = (uint64_t)(clock_monotonic_ms() - begin) + 1;
        pthread_mutex_lock(&save->lock);
        save->progress.iteration = pass;
        if (pass > 1)
            save->progress.dirty_rate_per_s = changed * 1000 / took_ms;
        pthread_mutex_unlock(&save->lock);
        tell(save, true);
        if (changed <= SMALL_BYTES || (pass > 2 && changed / 4 >= before / 5))
            break;
        before = changed;
    }
    return true;
}

static bool stop_guest(struct save *save, struct error *err)
{
    return qmp_command(save->qmp, "stop", NULL, QEMU_COMMAND_MS, NULL, err);
}

/* QEMU writes its device state into an anonymous file. */
static bool migrate_devices(struct save *save, int devices_fd, struct error *err)
{
    return qmp_command_fd(save->qmp, "getfd", json_pack("{s:s}", "fdname", "devices"), devices_fd,
                          QEMU_COMMAND_MS, err) &&
           qmp_command(save->qmp, "migrate", json_pack("{s:s}", "uri", "fd:devices"),
                       QEMU_COMMAND_MS, NULL, err) &&
           qemu_monitor_await_migration(save->qmp, DEVICES_MS, err);
}

/* What the pause consists of, in microseconds. */
struct pause_parts {
    int64_t begin, stopped, drained, devices, released, ram, end;
    uint64_t last_bytes;
};

static void log_pause(const struct save *save, const struct pause_parts *at)
{
    log_info("domain %s: pause stop %lld us, drain %lld us, devices %lld us, disks %lld us, "
             "last %llu bytes of RAM %lld us, end %lld us, after %d passes",
             save->config.uuid, (long long)(at->stopped - at->begin),
             (long long)(at->drained - at->stopped), (long long)(at->devices - at->drained),
             (long long)(at->released - at->devices), (unsigned long long)at->last_bytes,
             (long long)(at->ram - at->released), (long long)(at->end - at->ram),
             save->progress.iteration);
}

static bool send_rest(struct save *save, int devices_fd, struct pause_parts *at, struct error *err)
{
    save->writer.is_cancelled = NULL; /* from here on the handoff decides */
    if (!save->hooks->on_suspended(save->hooks->context, err))
        return false;
    at->drained = clock_monotonic_us();
    if (!migrate_devices(save, devices_fd, err))
        return false;
    at->devices = clock_monotonic_us();
    if (!qemu_disk_release(save->hv, &save->config, err) ||
        !ram_write_suspended(&save->writer, err))
        return false;
    at->released = clock_monotonic_us();
    if (!save->is_live)
        save->progress.iteration = 1;
    if (!ram_scan_pass(save->scan, &save->writer, LAST_PASS_THREADS, save->is_live ? NULL : tick,
                       save, &at->last_bytes, err))
        return false;
    at->ram = clock_monotonic_us();
    return ram_write_end(&save->writer, devices_fd, err);
}

bool qemu_save(struct hypervisor *hv, const char *uuid, bool is_live, int fd,
               const struct save_hooks *hooks, bool *is_suspended, struct error *err)
{
    *is_suspended = false;
    __attribute__((cleanup(save_done))) struct save save = {
        .hv = hv, .is_live = is_live, .hooks = hooks, .ram_fd = -1};
    pthread_mutex_init(&save.lock, NULL);
    auto_close int devices_fd = memfd_create("crosspool-devices", MFD_CLOEXEC);
    if (devices_fd < 0)
        return error_set_errno(err, ERROR_INTERNAL, errno, "memfd_create");
    if (!open_parts(&save, uuid, fd, err) ||
        !ram_write_hello(&save.writer, save.config.memory_bytes, err) ||
        (is_live && !send_live(&save, err)))
        return error_prefix(err, "saving domain %s", uuid);
    struct pause_parts at = {.begin = clock_monotonic_us()};
    *is_suspended = true; /* also when stop gives no answer: it may have been obeyed */
    if (!stop_guest(&save, err))
        return error_prefix(err, "suspending domain %s", uuid);
    at.stopped = clock_monotonic_us();
    if (!send_rest(&save, devices_fd, &at, err))
        return error_prefix(err, "saving domain %s", uuid);
    at.end = clock_monotonic_us();
    tell(&save, true);
    log_pause(&save, &at);
    return true;
}

/* A migration that still goes on (the agent died in it) is ended first. */
static bool end_migration(struct qmp *qmp, struct error *err)
{
    char status[32];
    bool is_final = false;
    int64_t deadline = clock_monotonic_ms() + DEVICES_MS;
    while (!is_final) {
        if (!qemu_monitor_migration(qmp, status, &is_final, err))
            return false;
        if (is_final)
            break;
        if (clock_monotonic_ms() >= deadline)
            return error_set(err, ERROR_TIMEOUT, "QEMU's migration does not end: %s", status);
        if (!qmp_command(qmp, "migrate_cancel", NULL, QEMU_COMMAND_MS, NULL, err))
            return false;
        clock_sleep_ms(1);
    }
    return true;
}

bool qemu_save_undo(struct hypervisor *hv, const char *uuid, struct error *err)
{
    auto_config struct qemu_config config = {0};
    auto_qmp struct qmp *qmp = NULL;
    char status[32];
    if (!qemu_domain_load(hv, uuid, &config, err) || !qemu_monitor_open(hv, uuid, &qmp, err) ||
        !end_migration(qmp, err) || !qemu_monitor_status(qmp, status, err))
        return error_prefix(err, "resuming domain %s", uuid);
    if (strcmp(status, "running") == 0)
        return true;
    if (strcmp(status, "inmigrate") == 0)
        return error_set(err, ERROR_CONFLICT, "domain %s still waits for its memory", uuid);
    if (!qemu_disk_serve(hv, &config, false, err) ||
        !qmp_command(qmp, "cont", NULL, QEMU_COMMAND_MS, NULL, err))
        return error_prefix(err, "resuming domain %s", uuid);
    return true;
}
