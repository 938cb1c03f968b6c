/* Image sizes and VHD servers; see qemu_disk.h. */
#include "agent/hypervisor/qemu/qemu_disk.h"

#include "agent/hypervisor/qemu/qemu_command.h"
#include "agent/hypervisor/qemu/qemu_folder.h"
#include "agent/hypervisor/qemu/qemu_process.h"
#include "agent/process/child.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/memory.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { INFO_MS = 20000, INFO_OUTPUT = 1 << 20, SERVER_MS = 20000, SERVER_GRACE_MS = 10000 };

/* QEMU's word for a format. */
static const char *driver_of(enum image_format format)
{
    return format == IMAGE_VHD ? "vpc" : image_format_names[format];
}

bool qemu_disk_size(const struct qemu_disk *disk, uint64_t *size_bytes, struct error *err)
{
    if (access(disk->path, R_OK | W_OK) < 0)
        return error_set_errno(err, ERROR_NOT_FOUND, errno, "image %s of disk %s", disk->path,
                               disk->device);
    const char *const argv[] = {
        "qemu-img", "info", "-U", "--output=json", "-f", driver_of(disk->format), disk->path, NULL};
    auto_free char *text = NULL;
    json_error_t reason;
    if (!child_run(argv, INFO_MS, INFO_OUTPUT, &text, err))
        return error_prefix(err, "image %s of disk %s", disk->path, disk->device);
    json_auto_t *info = json_loads(text, 0, &reason);
    const json_t *size = json_object_get(info, "virtual-size");
    if (!json_is_integer(size) || json_integer_value(size) < 0)
        return error_set(err, ERROR_INTERNAL, "image %s of disk %s: no size in qemu-img's answer",
                         disk->path, disk->device);
    *size_bytes = (uint64_t)json_integer_value(size);
    return true;
}

static void server_path(const struct hypervisor *hv, const char *uuid, const char *device,
                        const char *suffix, char out[QEMU_FOLDER_PATH])
{
    char name[64];
    snprintf(name, sizeof name, "vhd-%s.%s", device, suffix);
    qemu_folder_path(hv, uuid, name, out);
}

static json_t *server_node(const struct qemu_disk *disk, bool is_placeholder)
{
    if (is_placeholder)
        return json_pack("{s:s, s:s, s:I, s:b}", "driver", "null-co", "node-name", "disk", "size",
                         (json_int_t)disk->size_bytes, "read-zeroes", 1);
    return json_pack("{s:s, s:s, s:s, s:{s:s, s:s, s:s}}", "driver", "vpc", "node-name", "disk",
                     "discard", "unmap", "file", "driver", "file", "filename", disk->path,
                     "discard", "unmap");
}

static bool start_server(const struct hypervisor *hv, const char *uuid,
                         const struct qemu_disk *disk, bool is_placeholder, struct error *err)
{
    char socket[QEMU_FOLDER_PATH], pid_file[QEMU_FOLDER_PATH], log[QEMU_FOLDER_PATH];
    server_path(hv, uuid, disk->device, "sock", socket);
    server_path(hv, uuid, disk->device, "pid", pid_file);
    server_path(hv, uuid, disk->device, "log", log);
    if (qemu_process_find(pid_file))
        return true;
    if (!file_remove(socket, err))
        return false;
    json_auto_t *node = server_node(disk, is_placeholder);
    json_auto_t *server = json_pack("{s:{s:s, s:s}, s:i}", "addr", "type", "unix", "path", socket,
                                    "max-connections", 0);
    auto_free char *node_text = json_dumps(node, JSON_COMPACT);
    auto_free char *server_text = json_dumps(server, JSON_COMPACT);
    const char *const argv[] = {
        "qemu-storage-daemon",
        "--pidfile",
        pid_file,
        "--blockdev",
        node_text,
        "--nbd-server",
        server_text,
        "--export",
        "{\"type\":\"nbd\",\"id\":\"disk\",\"node-name\":\"disk\",\"name\":\"\",\"writable\":true}",
        NULL};
    pid_t pid;
    return child_start_detached(argv, log, socket, SERVER_MS, &pid, err);
}

bool qemu_disk_serve(const struct hypervisor *hv, const struct qemu_config *config,
                     bool is_placeholder, struct error *err)
{
    for (size_t i = 0; i < config->disks.count; i++) {
        const struct qemu_disk *disk = &qemu_config_disks(config)[i];
        if (disk->format == IMAGE_VHD && !start_server(hv, config->uuid, disk, is_placeholder, err))
            return error_prefix(err, "disk %s", disk->device);
    }
    return true;
}

bool qemu_disk_release(const struct hypervisor *hv, const struct qemu_config *config,
                       struct error *err)
{
    for (size_t i = 0; i < config->disks.count; i++) {
        const struct qemu_disk *disk = &qemu_config_disks(config)[i];
        char pid_file[QEMU_FOLDER_PATH];
        server_path(hv, config->uuid, disk->device, "pid", pid_file);
        if (disk->format == IMAGE_VHD && !qemu_process_end(pid_file, SERVER_GRACE_MS, err))
            return error_prefix(err, "disk %s", disk->device);
    }
    return true;
}

static bool is_server_pid(const char *name)
{
    size_t length = strlen(name);
    return strncmp(name, "vhd-", 4) == 0 && length > 8 && strcmp(name + length - 4, ".pid") == 0;
}

bool qemu_disk_release_all(const struct hypervisor *hv, const char *uuid, struct error *err)
{
    char path[QEMU_FOLDER_PATH];
    qemu_folder_path(hv, uuid, NULL, path);
    DIR *folder = opendir(path);
    const struct dirent *entry;
    bool is_done = true;
    while (folder && is_done && (entry = readdir(folder))) {
        if (!is_server_pid(entry->d_name) || strlen(entry->d_name) > QEMU_SOCKET_NAME)
            continue;
        qemu_folder_path(hv, uuid, entry->d_name, path);
        is_done = qemu_process_end(path, SERVER_GRACE_MS, err);
    }
    if (folder)
        closedir(folder);
    return is_done;
}
