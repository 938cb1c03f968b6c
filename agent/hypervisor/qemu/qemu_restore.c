/* restore: QEMU is started before the first page is read, so that it is ready when the pause comes;
 * pages go into its RAM file while it waits; the device state is fed to it last. Images are opened
 * inactive and taken at `cont` only, so the source may still get its domain back. */
#include "agent/hypervisor/qemu/qemu_restore.h"

#include "agent/hypervisor/qemu/qemu_disk.h"
#include "agent/hypervisor/qemu/qemu_domain.h"
#include "agent/hypervisor/qemu/qemu_folder.h"
#include "agent/hypervisor/qemu/qemu_monitor.h"
#include "agent/hypervisor/qemu/ram_stream.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { DEVICES_MS = 60000 };

struct restore {
    struct hypervisor *hv;
    struct qemu_config config;
    struct qmp *qmp;
    struct ram_reader reader;
    int ram_fd, devices_fd;
};

static void restore_done(struct restore *restore)
{
    qmp_close(restore->qmp);
    ram_reader_done(&restore->reader);
    cleanup_close(&restore->ram_fd);
    cleanup_close(&restore->devices_fd);
    qemu_config_done(&restore->config);
}

static bool write_all(int fd, const char *data, uint64_t size, off_t offset, struct error *err)
{
    while (size) {
        ssize_t done = pwrite(fd, data, size, offset);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return error_set_errno(err, ERROR_INTERNAL, errno, "memory of the domain");
        data += done;
        offset += done;
        size -= (uint64_t)done;
    }
    return true;
}

/* Written, not punched out: the memory stays reserved. */
static bool write_zeroes(int fd, uint64_t size, off_t offset, struct error *err)
{
    static const char zeroes[RAM_PIECE];
    assert(size <= sizeof zeroes); /* the reader refuses larger records */
    return write_all(fd, zeroes, size, offset, err);
}

/* Only behind the end of the stream: its last bytes are held back until the receivers have flushed
 * and closed the images, and a VHD's server needs the image for itself. */
static bool take_disks(struct restore *restore, struct error *err)
{
    return qemu_disk_release(restore->hv, &restore->config, err) &&
           qemu_disk_serve(restore->hv, &restore->config, false, err);
}

static bool apply(struct restore *restore, const struct ram_record *record, struct error *err)
{
    switch (record->kind) {
    case RAM_PAGES:
        return write_all(restore->ram_fd, record->data, record->length, (off_t)record->offset, err);
    case RAM_ZEROES:
        return write_zeroes(restore->ram_fd, record->length, (off_t)record->offset, err);
    case RAM_DEVICES:
        return write_all(restore->devices_fd, record->data, record->length, 0, err);
    default:
        return true;
    }
}

static bool receive(struct restore *restore, struct error *err)
{
    struct ram_record record;
    do {
        if (!ram_read(&restore->reader, &record, err) || !apply(restore, &record, err))
            return false;
    } while (record.kind != RAM_END);
    return true;
}

static bool start(struct restore *restore, struct error *err)
{
    static const char *const capabilities[] = {"x-ignore-shared", "late-block-activate", NULL};
    const char *uuid = restore->config.uuid;
    if (!qemu_domain_create(restore->hv, &restore->config, true, err) ||
        !qemu_monitor_open_new(restore->hv, uuid, &restore->qmp, err) ||
        !qemu_monitor_enable(restore->qmp, capabilities, err))
        return false;
    /* The network learns of the domain when it runs here, not when it might. */
    if (!qmp_command(restore->qmp, "migrate-set-parameters",
                     json_pack("{s:i}", "announce-rounds", 0), QEMU_COMMAND_MS, NULL, err))
        return false;
    auto_free char *memory = qemu_folder_memory_path(restore->hv, uuid);
    restore->ram_fd = open(memory, O_WRONLY | O_CLOEXEC);
    restore->devices_fd = memfd_create("crosspool-devices", MFD_CLOEXEC);
    if (restore->ram_fd < 0 || restore->devices_fd < 0)
        return error_set_errno(err, ERROR_INTERNAL, errno, "%s", memory);
    return true;
}

static bool load_devices(struct restore *restore, struct error *err)
{
    char status[32];
    if (lseek(restore->devices_fd, 0, SEEK_SET) < 0)
        return error_set_errno(err, ERROR_INTERNAL, errno, "device state");
    if (!qmp_command_fd(restore->qmp, "getfd", json_pack("{s:s}", "fdname", "devices"),
                        restore->devices_fd, QEMU_COMMAND_MS, err) ||
        !qmp_command(restore->qmp, "migrate-incoming", json_pack("{s:s}", "uri", "fd:devices"),
                     QEMU_COMMAND_MS, NULL, err) ||
        !qemu_monitor_await_migration(restore->qmp, DEVICES_MS, err) ||
        !qemu_monitor_status(restore->qmp, status, err))
        return false;
    if (strcmp(status, "paused") != 0)
        return error_set(err, ERROR_INTERNAL, "the restored domain is %s, expected paused", status);
    return true;
}

static bool build(struct restore *restore, struct error *err)
{
    if (!start(restore, err) || !receive(restore, err))
        return false;
    int64_t begin = clock_monotonic_us();
    if (!take_disks(restore, err) || !load_devices(restore, err))
        return false;
    log_info("domain %s: disks taken and device state loaded in %lld us", restore->config.uuid,
             (long long)(clock_monotonic_us() - begin));
    return true;
}

static bool check(struct restore *restore, const char *uuid, const char *config,
                  const struct restore_map *map, struct error *err)
{
    const struct qemu_facts *facts = &restore->hv->facts;
    if (!uuid_is_valid(uuid) || !qemu_config_parse(config, &restore->config, err))
        return error_prefix(err, "configuration");
    if (strcmp(restore->config.uuid, uuid) != 0)
        return error_set(err, ERROR_INVALID, "the configuration is of domain %s",
                         restore->config.uuid);
    if (strcmp(restore->config.accelerator, facts->accelerator) != 0)
        return error_set(err, ERROR_UNSUPPORTED, "the domain runs with %s, this host has %s",
                         restore->config.accelerator, facts->accelerator);
    if (qemu_folder_exists(restore->hv, uuid))
        return error_set(err, ERROR_CONFLICT, "domain %s is on this host already", uuid);
    return qemu_config_map(&restore->config, map, err) &&
           qemu_domain_check(restore->hv, &restore->config, err);
}

bool qemu_restore(struct hypervisor *hv, const char *uuid, const char *config,
                  const struct restore_map *map, int fd, struct error *err)
{
    __attribute__((cleanup(restore_done))) struct restore restore = {
        .hv = hv, .ram_fd = -1, .devices_fd = -1};
    if (!check(&restore, uuid, config, map, err) ||
        !ram_reader_init(&restore.reader, fd, restore.config.memory_bytes, err))
        return error_prefix(err, "restoring domain %s", uuid);
    if (build(&restore, err))
        return true;
    struct error second;
    if (!qemu_domain_remove(hv, uuid, &second))
        log_error("%s", second.text);
    return error_prefix(err, "restoring domain %s", uuid);
}
