/* domain.json: the description of one domain, as given, as kept, and as it travels. */
#pragma once

#include "agent/hypervisor/hypervisor.h"

enum { QEMU_SOCKET_NAME = 20 }; /* longest name of a socket in a domain's folder */

struct qemu_disk {
    char device[12]; /* short: it names a socket, too */
    char *path;
    enum image_format format;
    bool has_iothread;
    uint64_t size_bytes; /* virtual; filled in by the driver */
};
struct qemu_vif {
    char mac[18];
    char bridge[16];
};
struct qemu_config {
    char uuid[UUID_SIZE];
    char name[LIMIT_NAME + 1];
    uint64_t memory_bytes;
    int vcpus;
    char *kernel, *initrd, *cmdline;                                /* may be NULL */
    struct json_array disks;                                        /* struct qemu_disk */
    struct json_array vifs;                                         /* struct qemu_vif */
    char console[QEMU_SOCKET_NAME + 1], tick[QEMU_SOCKET_NAME + 1]; /* socket names, "" = none */
    char machine[64]; /* filled in by the driver at boot: both ends must agree */
    char accelerator[16];
};

bool qemu_config_parse(const char *text, struct qemu_config *out, struct error *err) must_check;
char *qemu_config_text(const struct qemu_config *config); /* caller frees */
void qemu_config_done(struct qemu_config *config);
#define auto_config __attribute__((cleanup(qemu_config_done)))

static inline struct qemu_disk *qemu_config_disks(const struct qemu_config *config)
{
    return config->disks.items;
}
static inline struct qemu_vif *qemu_config_vifs(const struct qemu_config *config)
{
    return config->vifs.items;
}

/* Puts the paths, formats and bridges of this host in. Every disk and VIF must be mapped, and
 * nothing else. */
bool qemu_config_map(struct qemu_config *config, const struct restore_map *map,
                     struct error *err) must_check;
