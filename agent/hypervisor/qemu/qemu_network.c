/* Taps by ip(8); see qemu_network.h. */
#include "agent/hypervisor/qemu/qemu_network.h"

#include "agent/hypervisor/qemu/qemu_folder.h"
#include "agent/process/child.h"

#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { IP_MS = 10000, IP_OUTPUT = 4096 };

static bool run_ip(const char *const argv[], struct error *err)
{
    return child_run(argv, IP_MS, IP_OUTPUT, NULL, err);
}

bool qemu_network_check(const struct qemu_config *config, struct error *err)
{
    for (size_t i = 0; i < config->vifs.count; i++) {
        char path[64];
        const char *bridge = qemu_config_vifs(config)[i].bridge;
        snprintf(path, sizeof path, "/sys/class/net/%s/bridge", bridge);
        if (access(path, F_OK) < 0)
            return error_set(err, ERROR_NOT_FOUND, "no bridge %s on this host", bridge);
    }
    return true;
}

static bool create_tap(const char *tap, const struct qemu_vif *vif, struct error *err)
{
    /* An address above every guest's: a bridge takes the lowest one of its ports as its own. The
     * kernel must not speak on the tap by itself either, hence no IPv6 address. */
    char address[18];
    snprintf(address, sizeof address, "fe%s", vif->mac + 2);
    const char *const create[] = {"ip", "tuntap", "add", "dev", tap, "mode", "tap", NULL};
    const char *const quiet[] = {"ip", "link", "set", tap, "addrgenmode", "none", NULL};
    const char *const up[] = {"ip",    "link",   "set",       tap,  "address",
                              address, "master", vif->bridge, "up", NULL};
    return run_ip(create, err) && run_ip(quiet, err) && run_ip(up, err);
}

bool qemu_network_create(const struct hypervisor *hv, const struct qemu_config *config,
                         struct error *err)
{
    char prefix[QEMU_TAP_PREFIX], tap[IFNAMSIZ];
    qemu_folder_tap_prefix(hv, config->uuid, prefix);
    for (size_t i = 0; i < config->vifs.count; i++) {
        const struct qemu_vif *vif = &qemu_config_vifs(config)[i];
        snprintf(tap, sizeof tap, "%s%zx", prefix, i & 0xf);
        if (!create_tap(tap, vif, err))
            return error_prefix(err, "tap of VIF %s on bridge %s", vif->mac, vif->bridge);
    }
    return true;
}

bool qemu_network_remove(const struct hypervisor *hv, const char *uuid, struct error *err)
{
    char prefix[QEMU_TAP_PREFIX];
    qemu_folder_tap_prefix(hv, uuid, prefix);
    for (unsigned i = 0; i < LIMIT_VIFS; i++) {
        char tap[IFNAMSIZ];
        snprintf(tap, sizeof tap, "%s%x", prefix, i & 0xf);
        const char *const remove[] = {"ip", "link", "del", tap, NULL};
        if (if_nametoindex(tap) && !run_ip(remove, err))
            return error_prefix(err, "tap %s", tap);
    }
    return true;
}
