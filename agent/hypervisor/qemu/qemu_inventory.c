/* Facts, domains and attach points; see qemu_inventory.h. */
#include "agent/hypervisor/qemu/qemu_inventory.h"

#include "agent/hypervisor/qemu/qemu_command.h"
#include "agent/hypervisor/qemu/qemu_domain.h"
#include "agent/hypervisor/qemu/qemu_folder.h"
#include "agent/hypervisor/qemu/qemu_monitor.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/memory.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* "name   : value" of /proc/cpuinfo and /proc/meminfo. */
static void read_line(const char *path, const char *name, char *out, size_t size)
{
    auto_fclose FILE *file = fopen(path, "re");
    char line[512];
    size_t length = strlen(name);
    while (file && fgets(line, sizeof line, file)) {
        const char *colon = strchr(line, ':');
        if (strncmp(line, name, length) != 0 || !colon || !strchr(":\t ", line[length]))
            continue;
        const char *value = colon + 1 + strspn(colon + 1, " \t");
        snprintf(out, size, "%.*s", (int)strcspn(value, "\n"), value);
        return;
    }
}

static uint64_t read_memory(const char *name)
{
    char value[64] = "0";
    read_line("/proc/meminfo", name, value, sizeof value);
    return strtoull(value, NULL, 10) << 10;
}

static const struct inventory_guest_type guest_type = {.type = "qemu", .is_live = true};

/* A guest of the emulator sees the emulator's CPU, the same on every host. */
static void describe_cpu(const struct hypervisor *hv, struct host_facts *facts)
{
    if (strcmp(hv->facts.accelerator, "kvm") != 0) {
        strcpy(facts->cpu_vendor, "AuthenticAMD");
        strcpy(facts->cpu_model, "qemu64");
        return;
    }
    read_line("/proc/cpuinfo", "vendor_id", facts->cpu_vendor, sizeof facts->cpu_vendor);
    read_line("/proc/cpuinfo", "model name", facts->cpu_model, sizeof facts->cpu_model);
}

static void copy_disks(const struct qemu_config *config, struct domain *domain)
{
    domain->disk_count = config->disks.count;
    domain->disks = memory_array(config->disks.count, sizeof *domain->disks);
    for (size_t i = 0; i < config->disks.count; i++) {
        const struct qemu_disk *from = &qemu_config_disks(config)[i];
        struct domain_disk *to = &domain->disks[i];
        snprintf(to->device, sizeof to->device, "%s", from->device);
        to->path = memory_copy_text(from->path);
        to->format = from->format;
        to->size_bytes = from->size_bytes;
    }
}

static void copy_vifs(const struct qemu_config *config, struct domain *domain)
{
    domain->vif_count = config->vifs.count;
    domain->vifs = memory_array(config->vifs.count, sizeof *domain->vifs);
    for (size_t i = 0; i < config->vifs.count; i++) {
        const struct qemu_vif *from = &qemu_config_vifs(config)[i];
        memcpy(domain->vifs[i].mac, from->mac, sizeof from->mac);
        domain->vifs[i].bridge = memory_copy_text(from->bridge);
    }
}

static bool describe(struct hypervisor *hv, const char *uuid, struct domain *out)
{
    auto_config struct qemu_config config = {0};
    struct error err;
    if (!qemu_domain_load(hv, uuid, &config, &err)) {
        if (err.code != ERROR_NOT_FOUND) /* not there: it is being made or removed */
            log_warning("%s", err.text);
        return false;
    }
    struct domain domain = {.memory_bytes = config.memory_bytes, .vcpus = config.vcpus};
    memcpy(domain.uuid, config.uuid, sizeof domain.uuid);
    domain.name = memory_copy_text(config.name);
    memcpy(domain.type, guest_type.type, sizeof domain.type);
    domain.state = qemu_monitor_domain_state(hv, uuid);
    copy_disks(&config, &domain);
    copy_vifs(&config, &domain);
    *out = domain;
    return true;
}

bool qemu_inventory_list(struct hypervisor *hv, struct domain_list *out, struct error *err)
{
    struct domain_list list = {0};
    auto_free char *path = memory_format("%s/domains", hv->run_directory);
    DIR *folder = opendir(path);
    const struct dirent *entry;
    if (!folder && errno != ENOENT)
        return error_set_errno(err, ERROR_INTERNAL, errno, "%s", path);
    list.items = memory_array(1, sizeof *list.items);
    while (folder && list.count < LIMIT_DOMAINS && (entry = readdir(folder))) {
        list.items = memory_resize(list.items, list.count + 1, sizeof *list.items);
        if (uuid_is_valid(entry->d_name) && describe(hv, entry->d_name, &list.items[list.count]))
            list.count++;
    }
    if (folder)
        closedir(folder);
    *out = list;
    return true;
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* The limit for all guests together, less what the present ones have. */
static bool apply_limit(struct hypervisor *hv, struct host_facts *facts, struct error *err)
{
    struct domain_list domains;
    if (!qemu_inventory_list(hv, &domains, err))
        return false;
    uint64_t left = hv->memory_limit_bytes;
    for (size_t i = 0; i < domains.count; i++)
        left -= smaller(left, domains.items[i].memory_bytes);
    domain_list_done(&domains);
    facts->memory_bytes = smaller(facts->memory_bytes, hv->memory_limit_bytes);
    facts->memory_free_bytes = smaller(facts->memory_free_bytes, left);
    return true;
}

bool qemu_inventory_facts(struct hypervisor *hv, struct host_facts *out, struct error *err)
{
    struct host_facts facts = {.cpus = (int)sysconf(_SC_NPROCESSORS_ONLN)};
    struct statvfs room;
    if (statvfs(hv->memory_directory, &room) < 0)
        return error_set_errno(err, ERROR_INTERNAL, errno, "%s", hv->memory_directory);
    uint64_t room_bytes = (uint64_t)room.f_bavail * room.f_frsize;
    snprintf(facts.accelerator, sizeof facts.accelerator, "%s", hv->facts.accelerator);
    snprintf(facts.version, sizeof facts.version, "%s", hv->facts.version);
    describe_cpu(hv, &facts);
    facts.guest_types[facts.guest_type_count++] = guest_type;
    facts.memory_bytes = read_memory("MemTotal");
    facts.memory_free_bytes = smaller(read_memory("MemAvailable"), room_bytes);
    if (hv->memory_limit_bytes && !apply_limit(hv, &facts, err))
        return false;
    *out = facts;
    return true;
}

static const struct qemu_disk *find_disk(const struct qemu_config *config, const char *device)
{
    for (size_t i = 0; i < config->disks.count; i++) {
        if (strcmp(qemu_config_disks(config)[i].device, device) == 0)
            return &qemu_config_disks(config)[i];
    }
    return NULL;
}

bool qemu_inventory_attach(struct hypervisor *hv, const char *uuid, const char *device,
                           struct disk_attach *out, struct error *err)
{
    auto_config struct qemu_config config = {0};
    struct disk_attach attach = {0};
    char path[QEMU_FOLDER_PATH], socket[64];
    if (!qemu_domain_load(hv, uuid, &config, err))
        return false;
    const struct qemu_disk *disk = find_disk(&config, device);
    if (!disk)
        return error_set(err, ERROR_NOT_FOUND, "domain %s has no disk %s", uuid, device);
    if (!qemu_domain_is_alive(hv, uuid))
        return error_set(err, ERROR_CONFLICT, "domain %s does not run", uuid);
    qemu_folder_path(hv, uuid, "qmp-block.sock", path);
    snprintf(attach.qmp_path, sizeof attach.qmp_path, "%s", path);
    qemu_command_node(device, attach.node);
    qemu_command_vhd_socket(device, socket);
    qemu_folder_path(hv, uuid, socket, path);
    bool is_vhd = disk->format == IMAGE_VHD;
    snprintf(attach.reader_path, sizeof attach.reader_path, "%s", is_vhd ? path : disk->path);
    attach.reader = is_vhd                        ? READER_NBD_SOCKET
                    : disk->format == IMAGE_QCOW2 ? READER_QEMU_NBD
                                                  : READER_FILE;
    attach.format = disk->format;
    attach.size_bytes = disk->size_bytes;
    *out = attach;
    return true;
}
