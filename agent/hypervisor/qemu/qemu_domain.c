/* Making and removing a domain's parts; see qemu_domain.h. */
#include "agent/hypervisor/qemu/qemu_domain.h"

#include "agent/hypervisor/qemu/qemu_command.h"
#include "agent/hypervisor/qemu/qemu_disk.h"
#include "agent/hypervisor/qemu/qemu_folder.h"
#include "agent/hypervisor/qemu/qemu_network.h"
#include "agent/hypervisor/qemu/qemu_process.h"
#include "agent/process/child.h"
#include "base/cleanup.h"
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { DESCRIPTION_LIMIT = 1 << 20, START_MS = 30000 };

static bool check_disks(struct qemu_config *config, struct error *err)
{
    for (size_t i = 0; i < config->disks.count; i++) {
        struct qemu_disk *disk = &qemu_config_disks(config)[i];
        uint64_t size;
        if (!qemu_disk_size(disk, &size, err))
            return false;
        if (disk->size_bytes && disk->size_bytes != size)
            return error_set(err, ERROR_CONFLICT,
                             "image %s of disk %s has %" PRIu64 " bytes, expected %" PRIu64,
                             disk->path, disk->device, size, disk->size_bytes);
        disk->size_bytes = size;
    }
    return true;
}

static bool check_file(const char *what, const char *path, struct error *err)
{
    if (!path || access(path, R_OK) == 0)
        return true;
    return error_set_errno(err, ERROR_NOT_FOUND, errno, "%s %s", what, path);
}

static bool check_memory(const struct hypervisor *hv, const struct qemu_config *config,
                         struct error *err)
{
    struct statvfs room;
    if (statvfs(hv->memory_directory, &room) < 0)
        return error_set_errno(err, ERROR_INTERNAL, errno, "%s", hv->memory_directory);
    uint64_t free_bytes = (uint64_t)room.f_bavail * room.f_frsize;
    if (free_bytes >= config->memory_bytes)
        return true;
    return error_set(err, ERROR_NO_SPACE,
                     "the domain needs %" PRIu64 " bytes of memory, %s has %" PRIu64 " free",
                     config->memory_bytes, hv->memory_directory, free_bytes);
}

bool qemu_domain_check(const struct hypervisor *hv, struct qemu_config *config, struct error *err)
{
    return qemu_network_check(config, err) && check_file("kernel", config->kernel, err) &&
           check_file("initrd", config->initrd, err) && check_memory(hv, config, err) &&
           check_disks(config, err);
}

static bool create_memory(const struct hypervisor *hv, const struct qemu_config *config,
                          struct error *err)
{
    auto_free char *path = qemu_folder_memory_path(hv, config->uuid);
    if (!file_remove(path, err))
        return false;
    auto_close int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return error_set_errno(err, ERROR_INTERNAL, errno, "%s", path);
    int failure = posix_fallocate(fd, 0, (off_t)config->memory_bytes);
    return failure ? error_set_errno(err, ERROR_NO_SPACE, failure, "memory of the domain, %s", path)
                   : true;
}

static bool start_qemu(const struct hypervisor *hv, const struct qemu_config *config,
                       bool is_incoming, struct error *err)
{
    char log[QEMU_FOLDER_PATH], ready[QEMU_FOLDER_PATH];
    qemu_folder_path(hv, config->uuid, "qemu.log", log);
    qemu_folder_path(hv, config->uuid, "qmp-state.sock", ready);
    struct qemu_command *command = qemu_command_new(hv, config, is_incoming);
    pid_t pid;
    bool is_started =
        child_start_detached(qemu_command_argv(command), log, ready, START_MS, &pid, err);
    qemu_command_free(command);
    return is_started;
}

bool qemu_domain_create(const struct hypervisor *hv, const struct qemu_config *config,
                        bool is_incoming, struct error *err)
{
    char folder[QEMU_FOLDER_PATH], description[QEMU_FOLDER_PATH];
    qemu_folder_path(hv, config->uuid, NULL, folder);
    qemu_folder_path(hv, config->uuid, "domain.json", description);
    auto_free char *text = qemu_config_text(config);
    return file_make_directory(folder, 0700, err) &&
           file_write(description, 0600, text, strlen(text), err) &&
           create_memory(hv, config, err) && qemu_network_create(hv, config, err) &&
           qemu_disk_serve(hv, config, is_incoming, err) &&
           start_qemu(hv, config, is_incoming, err);
}

bool qemu_domain_remove(const struct hypervisor *hv, const char *uuid, struct error *err)
{
    char path[QEMU_FOLDER_PATH];
    qemu_folder_path(hv, uuid, "qemu.pid", path);
    /* At once, like a power cut: a QEMU that is asked to quit flushes its disks first, and one
     * whose VHD servers were released for the destination waits for them. */
    if (!qemu_process_end(path, 0, err) || !qemu_disk_release_all(hv, uuid, err) ||
        !qemu_network_remove(hv, uuid, err))
        return error_prefix(err, "domain %s", uuid);
    auto_free char *memory = qemu_folder_memory_path(hv, uuid);
    qemu_folder_path(hv, uuid, NULL, path);
    return file_remove(memory, err) && file_remove_tree(path, err);
}

bool qemu_domain_load(const struct hypervisor *hv, const char *uuid, struct qemu_config *config,
                      struct error *err)
{
    char path[QEMU_FOLDER_PATH];
    auto_free char *text = NULL;
    if (!uuid_is_valid(uuid))
        return error_set(err, ERROR_INVALID, "\"%s\" is no UUID", uuid);
    qemu_folder_path(hv, uuid, "domain.json", path);
    if (!file_read(path, DESCRIPTION_LIMIT, &text, NULL, err)) {
        if (err->code == ERROR_NOT_FOUND)
            return error_set(err, ERROR_NOT_FOUND, "no domain %s on this host", uuid);
        return false;
    }
    return qemu_config_parse(text, config, err) ? true : error_prefix(err, "%s", path);
}

bool qemu_domain_is_alive(const struct hypervisor *hv, const char *uuid)
{
    char path[QEMU_FOLDER_PATH];
    qemu_folder_path(hv, uuid, "qemu.pid", path);
    return qemu_process_find(path) != 0;
}
