/* Builds QEMU's command line; see qemu_command.h. Both ends of a move must build the same devices
 * at the same addresses, so addresses follow from the order in domain.json alone. */
#include "agent/hypervisor/qemu/qemu_command.h"

#include "agent/hypervisor/qemu/qemu_folder.h"
#include "agent/hypervisor/qemu/qemu_host.h"
#include "base/cleanup.h"
#include "base/memory.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
    WORD_LIMIT = 1024,
    FIRST_DISK_SLOT = 2, /* eight functions a slot: LIMIT_DISKS take 8 slots, LIMIT_VIFS 2 */
    FIRST_VIF_SLOT = 16,
    NBD_RECONNECT_S = 10,
};

struct qemu_command {
    char *words[WORD_LIMIT + 1];
    size_t count;
};

static void add(struct qemu_command *command, char *word)
{
    assert(command->count < WORD_LIMIT);
    command->words[command->count++] = word;
}

static void add_text(struct qemu_command *command, const char *word)
{
    add(command, memory_copy_text(word));
}

static void add_option(struct qemu_command *command, const char *option, char *value)
{
    add_text(command, option);
    add(command, value);
}

/* Takes the object over. */
static void add_json(struct qemu_command *command, const char *option, json_t *value)
{
    assert(value);
    add_option(command, option, json_dumps(value, JSON_COMPACT));
    json_decref(value);
}

/* In QEMU's own option syntax a comma is written twice. Caller frees. */
static char *escape(const char *text)
{
    char *out = memory_alloc(2 * strlen(text) + 1), *at = out;
    for (; *text; text++) {
        if (*text == ',')
            *at++ = ',';
        *at++ = *text;
    }
    return out;
}

void qemu_command_node(const char *device, char out[64])
{
    snprintf(out, 64, "disk-%s", device);
}

void qemu_command_vhd_socket(const char *device, char out[64])
{
    snprintf(out, 64, "vhd-%s.sock", device);
}

static void add_socket(struct qemu_command *command, const struct hypervisor *hv,
                       const struct qemu_config *config, const char *id, const char *name)
{
    char path[QEMU_FOLDER_PATH];
    qemu_folder_path(hv, config->uuid, name, path);
    auto_free char *escaped = escape(path);
    add_option(command, "-chardev",
               memory_format("socket,id=%s,path=%s,server=on,wait=off", id, escaped));
}

static void add_monitors(struct qemu_command *command, const struct hypervisor *hv,
                         const struct qemu_config *config)
{
    static const char *const names[] = {"qmp", "qmp-block", "qmp-state"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        auto_free char *socket = memory_format("%s.sock", names[i]);
        add_socket(command, hv, config, names[i], socket);
        add_option(command, "-mon", memory_format("chardev=%s,mode=control", names[i]));
    }
}

static void add_serial(struct qemu_command *command, const struct hypervisor *hv,
                       const struct qemu_config *config, const char *id, const char *name,
                       int index)
{
    if (!*name)
        return;
    add_socket(command, hv, config, id, name);
    add_json(command, "-device",
             json_pack("{s:s, s:s, s:i}", "driver", "isa-serial", "chardev", id, "index", index));
}

static json_t *block_node(const struct hypervisor *hv, const struct qemu_config *config,
                          const struct qemu_disk *disk, const char *node)
{
    if (disk->format != IMAGE_VHD)
        return json_pack("{s:s, s:s, s:s, s:{s:s, s:s, s:s}}", "driver",
                         image_format_names[disk->format], "node-name", node, "discard", "unmap",
                         "file", "driver", "file", "filename", disk->path, "discard", "unmap");
    char name[64], path[QEMU_FOLDER_PATH];
    qemu_command_vhd_socket(disk->device, name);
    qemu_folder_path(hv, config->uuid, name, path);
    return json_pack("{s:s, s:s, s:s, s:s, s:i, s:{s:s, s:s}}", "driver", "nbd", "node-name", node,
                     "discard", "unmap", "export", "", "reconnect-delay", NBD_RECONNECT_S, "server",
                     "type", "unix", "path", path);
}

static void add_disk(struct qemu_command *command, const struct hypervisor *hv,
                     const struct qemu_config *config, size_t index)
{
    const struct qemu_disk *disk = &qemu_config_disks(config)[index];
    char node[64], address[16], thread[64];
    qemu_command_node(disk->device, node);
    snprintf(address, sizeof address, "%x.%x", FIRST_DISK_SLOT + (int)index / 8, (int)index % 8);
    add_json(command, "-blockdev", block_node(hv, config, disk, node));
    json_t *device = json_pack("{s:s, s:s, s:s, s:s, s:b}", "driver", "virtio-blk-pci", "id",
                               disk->device, "drive", node, "addr", address, "multifunction", 1);
    if (disk->has_iothread) {
        snprintf(thread, sizeof thread, "iothread-%s", disk->device);
        add_json(command, "-object", json_pack("{s:s, s:s}", "qom-type", "iothread", "id", thread));
        json_object_set_new(device, "iothread", json_string(thread));
    }
    add_json(command, "-device", device);
}

static void add_vif(struct qemu_command *command, const struct hypervisor *hv,
                    const struct qemu_config *config, size_t index)
{
    char prefix[QEMU_TAP_PREFIX], id[32], address[16];
    qemu_folder_tap_prefix(hv, config->uuid, prefix);
    snprintf(id, sizeof id, "vif%zu", index);
    snprintf(address, sizeof address, "%x.%x", FIRST_VIF_SLOT + (int)index / 8, (int)index % 8);
    add_option(command, "-netdev",
               memory_format("tap,id=%s,ifname=%s%zx,script=no,downscript=no,vhost=off", id, prefix,
                             index));
    add_json(command, "-device",
             json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:b}", "driver", "virtio-net-pci", "id", id,
                       "netdev", id, "mac", qemu_config_vifs(config)[index].mac, "addr", address,
                       "romfile", "", "multifunction", 1));
}

/* A place for a second vCPU that never comes: QEMU 7.2 emulates the guest's memory barriers and
 * locked instructions as such only where there may be more than one vCPU. Without them a guest
 * reads a virtqueue's index too early, beside the thread that completes its I/O, and waits for ever
 * for an interrupt that nobody owes it. */
static char *emulated_vcpus(int vcpus)
{
    return memory_format("%d,maxcpus=%d", vcpus, vcpus > 1 ? vcpus : 2);
}

/* RAM is a file that the driver can read while the guest runs. It is mapped as a whole before: a
 * guest that goes on after a move does not fault its pages in one by one. */
static void add_machine(struct qemu_command *command, const struct hypervisor *hv,
                        const struct qemu_config *config)
{
    add_option(
        command, "-machine",
        memory_format("%s,accel=%s,memory-backend=ram0", config->machine, config->accelerator));
    add_option(command, "-cpu", memory_copy_text(qemu_host_cpu(config->accelerator)));
    add_option(command, "-m", memory_format("%" PRIu64 "M", config->memory_bytes >> 20));
    add_option(command, "-smp",
               strcmp(config->accelerator, "tcg") == 0 ? emulated_vcpus(config->vcpus)
                                                       : memory_format("%d", config->vcpus));
    auto_free char *memory = qemu_folder_memory_path(hv, config->uuid);
    add_json(command, "-object",
             json_pack("{s:s, s:s, s:I, s:s, s:b, s:b}", "qom-type", "memory-backend-file", "id",
                       "ram0", "size", (json_int_t)config->memory_bytes, "mem-path", memory,
                       "share", 1, "prealloc", 1));
}

static void add_kernel(struct qemu_command *command, const struct qemu_config *config)
{
    if (config->kernel)
        add_option(command, "-kernel", memory_copy_text(config->kernel));
    if (config->initrd)
        add_option(command, "-initrd", memory_copy_text(config->initrd));
    if (config->cmdline)
        add_option(command, "-append", memory_copy_text(config->cmdline));
}

static void add_identity(struct qemu_command *command, const struct hypervisor *hv,
                         const struct qemu_config *config)
{
    char pid_file[QEMU_FOLDER_PATH];
    qemu_folder_path(hv, config->uuid, "qemu.pid", pid_file);
    auto_free char *name = escape(config->name);
    add_text(command, QEMU_BINARY);
    add_option(command, "-name", memory_format("guest=%s", name));
    add_option(command, "-uuid", memory_copy_text(config->uuid));
    add_option(command, "-pidfile", memory_copy_text(pid_file));
    add_text(command, "-no-user-config");
    add_text(command, "-nodefaults");
    add_option(command, "-display", memory_copy_text("none"));
    add_option(command, "-sandbox",
               memory_copy_text("on,obsolete=deny,elevateprivileges=deny,spawn=deny"));
}

struct qemu_command *qemu_command_new(const struct hypervisor *hv, const struct qemu_config *config,
                                      bool is_incoming)
{
    struct qemu_command *command = memory_alloc(sizeof *command);
    add_identity(command, hv, config);
    add_machine(command, hv, config);
    add_kernel(command, config);
    add_monitors(command, hv, config);
    add_serial(command, hv, config, "console", config->console, 0);
    add_serial(command, hv, config, "tick", config->tick, 1);
    for (size_t i = 0; i < config->disks.count; i++)
        add_disk(command, hv, config, i);
    for (size_t i = 0; i < config->vifs.count; i++)
        add_vif(command, hv, config, i);
    add_text(command, "-S");
    if (is_incoming)
        add_option(command, "-incoming", memory_copy_text("defer"));
    return command;
}

const char *const *qemu_command_argv(const struct qemu_command *command)
{
    return (const char *const *)command->words;
}

void qemu_command_free(struct qemu_command *command)
{
    if (!command)
        return;
    for (size_t i = 0; i < command->count; i++)
        free(command->words[i]);
    free(command);
}
