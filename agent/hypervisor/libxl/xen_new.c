/* New domains; see xen_new.h. */
#include "agent/hypervisor/libxl/xen_new.h"

#include "base/cleanup.h"
#include "base/json.h"
#include "base/memory.h"

#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

/* -- what is left open */

/* Within Xen's own range, as libxl chooses them. */
static json_t *make_mac(void)
{
    unsigned char bytes[3];
    char text[18];
    while (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes)
        ;
    snprintf(text, sizeof text, "00:16:3e:%02x:%02x:%02x", bytes[0] & 0x7fU, bytes[1], bytes[2]);
    return json_string(text);
}

static bool has_mac(const json_t *nic)
{
    const char *mac = json_string_value(json_object_get(nic, "mac"));
    return mac && strcmp(mac, "00:00:00:00:00:00") != 0;
}

bool xen_new_complete(const char *config, char **out, struct error *err)
{
    json_auto_t *root = NULL;
    if (!json_parse(config, strlen(config), &root, err))
        return error_prefix(err, "configuration");
    json_t *nics = json_object_get(root, "nics");
    for (size_t i = 0; i < json_array_size(nics); i++) {
        json_t *nic = json_array_get(nics, i);
        if (!has_mac(nic))
            json_object_set_new(nic, "mac", make_mac());
    }
    *out = json_dumps(root, JSON_COMPACT);
    return *out || error_set(err, ERROR_INTERNAL, "the configuration cannot be written");
}

uint64_t xen_new_memory_bytes(const char *config)
{
    json_auto_t *root = json_loads(config, 0, NULL);
    const json_t *built = json_object_get(root, "b_info");
    json_int_t kib = json_integer_value(json_object_get(built, "max_memkb"));
    return kib > 0 && kib < INT64_MAX >> 10 ? (uint64_t)kib << 10 : 0;
}

/* -- what its host must have */

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

/* A path without a folder is a device's, for libxl; what a script's target means, it alone knows.
 */
static bool check_disk(const json_t *disk, struct error *err)
{
    const char *path = text_of(disk, "pdev_path");
    if (!*path || *text_of(disk, "script") || *text_of(disk, "backend_domname"))
        return true;
    auto_free char *device = memory_format("/dev/%s", path);
    const char *whole = path[0] == '/' ? path : device;
    if (access(whole, F_OK) == 0)
        return true;
    return error_set_errno(err, ERROR_NOT_FOUND, errno, "image %s of disk %s", whole,
                           text_of(disk, "vdev"));
}

/* Other scripts than Xen's own for bridges need none, or write them in their own way. */
static bool check_vif(const json_t *nic, struct error *err)
{
    static const char by_default[] = "xenbr0";
    const char *script = text_of(nic, "script");
    const char *slash = strrchr(script, '/');
    const char *bridge = text_of(nic, "bridge");
    if (strcmp(slash ? slash + 1 : script, *script ? "vif-bridge" : "") != 0 ||
        *text_of(nic, "backend_domname"))
        return true;
    if (!*bridge)
        bridge = by_default;
    if (if_nametoindex(bridge) != 0)
        return true;
    return error_set(err, ERROR_NOT_FOUND, "VIF %s: no bridge %.100s on this host",
                     text_of(nic, "mac"), bridge);
}

static bool check_each(const json_t *list, bool (*check)(const json_t *, struct error *),
                       struct error *err)
{
    for (size_t i = 0; i < json_array_size(list); i++)
        if (!check(json_array_get(list, i), err))
            return false;
    return true;
}

bool xen_new_check(const char *config, struct error *err)
{
    json_auto_t *root = NULL;
    if (!json_parse(config, strlen(config), &root, err))
        return error_prefix(err, "configuration");
    return check_each(json_object_get(root, "disks"), check_disk, err) &&
           check_each(json_object_get(root, "nics"), check_vif, err);
}
