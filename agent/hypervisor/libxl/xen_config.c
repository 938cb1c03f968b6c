/* Reading and changing libxl's JSON; see xen_config.h. */
#include "agent/hypervisor/libxl/xen_config.h"

#include "base/cleanup.h"
#include "base/memory.h"

#include <string.h>

const char *const xen_type_names[] = {"pv", "pvh", "hvm", NULL};

void xen_config_done(struct xen_config *config)
{
    for (size_t i = 0; i < config->disk_count; i++)
        free(config->disks[i].path);
    for (size_t i = 0; i < config->vif_count; i++)
        free(config->vifs[i].bridge);
    free(config->name);
    free(config->disks);
    free(config->vifs);
    *config = (struct xen_config){0};
}

const struct xen_disk *xen_config_disk(const struct xen_config *config, const char *device)
{
    for (size_t i = 0; i < config->disk_count; i++)
        if (strcmp(config->disks[i].device, device) == 0)
            return &config->disks[i];
    return NULL;
}

/* -- reading */

static const char *word(const json_t *object, const char *key, const char *missing)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : missing;
}

/* libxl leaves out what has its default. */
static bool copy_word(const json_t *object, const char *key, const char *missing, char *out,
                      size_t size, struct error *err)
{
    const char *text = word(object, key, missing);
    if (!text || strlen(text) >= size)
        return error_set(err, ERROR_INVALID, "%s: expected a text of at most %zu bytes", key,
                         size - 1);
    memcpy(out, text, strlen(text) + 1);
    return true;
}

static bool read_type(const json_t *object, enum xen_type *out, struct error *err)
{
    const char *text = word(object, "type", "");
    for (int i = 0; xen_type_names[i]; i++) {
        if (strcmp(text, xen_type_names[i]) != 0)
            continue;
        *out = (enum xen_type)i;
        return true;
    }
    return error_set(err, ERROR_INVALID, "c_info/type: expected pv, pvh or hvm, not \"%s\"", text);
}

static bool read_disk(const json_t *item, struct xen_disk *out, struct error *err)
{
    const char *path = word(item, "pdev_path", NULL);
    bool is_empty = strcmp(word(item, "format", ""), "empty") == 0 || !path || !*path;
    if (path && strlen(path) > LIMIT_PATH)
        return error_set(err, ERROR_INVALID, "pdev_path: expected at most %d bytes", LIMIT_PATH);
    if (!copy_word(item, "vdev", NULL, out->device, sizeof out->device, err) ||
        !copy_word(item, "backend", "unknown", out->backend, sizeof out->backend, err) ||
        !copy_word(item, "format", "unknown", out->format, sizeof out->format, err))
        return false;
    out->is_foreign = json_integer_value(json_object_get(item, "backend_domid")) != 0 ||
                      *word(item, "backend_domname", "");
    if (!is_empty)
        out->path = memory_copy_text(path);
    return true;
}

static bool read_disks(const json_t *list, struct xen_config *config, struct error *err)
{
    size_t count = json_array_size(list);
    if (count > LIMIT_DISKS)
        return error_set(err, ERROR_INVALID, "disks: %zu, at most %d", count, LIMIT_DISKS);
    config->disks = memory_array(count, sizeof *config->disks);
    config->disk_count = count;
    for (size_t i = 0; i < count; i++)
        if (!read_disk(json_array_get(list, i), &config->disks[i], err))
            return error_prefix(err, "disks/%zu", i);
    return true;
}

static bool read_vifs(const json_t *list, struct xen_config *config, struct error *err)
{
    size_t count = json_array_size(list);
    if (count > LIMIT_VIFS)
        return error_set(err, ERROR_INVALID, "nics: %zu, at most %d", count, LIMIT_VIFS);
    config->vifs = memory_array(count, sizeof *config->vifs);
    config->vif_count = count;
    for (size_t i = 0; i < count; i++) {
        const json_t *item = json_array_get(list, i);
        struct xen_vif *vif = &config->vifs[i];
        vif->bridge = memory_copy_text(word(item, "bridge", ""));
        if (!copy_word(item, "mac", NULL, vif->mac, sizeof vif->mac, err))
            return error_prefix(err, "nics/%zu", i);
    }
    return true;
}

/* What is of this host alone, or of other domains of it. */
static const struct {
    const char *list, *why_not;
} fixed_devices[] = {
    {"pcidevs", "it has a PCI device of its host"},
    {"usbdevs", "it has a USB device of its host"},
    {"dtdevs", "it has a device of its host's device tree"},
    {"vtpms", "it has a virtual TPM, which another domain of its host holds"},
    {"p9s", "it shares a folder with its host (9pfs)"},
    {"pvcallsifs", "it uses sockets of its host (pvcalls)"},
};

/* QEMU's own name of a USB device of the host. */
static bool is_host_usb(const json_t *device)
{
    static const char prefix[] = "host:";
    const char *text = json_string_value(device);
    return text && strncmp(text, prefix, strlen(prefix)) == 0;
}

static bool has_host_usb(const json_t *hvm)
{
    const json_t *list = json_object_get(hvm, "usbdevice_list");
    for (size_t i = 0; i < json_array_size(list); i++)
        if (is_host_usb(json_array_get(list, i)))
            return true;
    return is_host_usb(json_object_get(hvm, "usbdevice"));
}

static bool has_foreign_vif(const json_t *nics)
{
    for (size_t i = 0; i < json_array_size(nics); i++) {
        const json_t *nic = json_array_get(nics, i);
        if (json_integer_value(json_object_get(nic, "backend_domid")) != 0 ||
            *word(nic, "backend_domname", ""))
            return true;
    }
    return false;
}

static const char *find_why_not(const json_t *root, const json_t *built)
{
    for (size_t i = 0; i < sizeof fixed_devices / sizeof fixed_devices[0]; i++)
        if (json_array_size(json_object_get(root, fixed_devices[i].list)) > 0)
            return fixed_devices[i].why_not;
    if (has_host_usb(json_object_get(built, "type.hvm")))
        return "it has a USB device of its host";
    if (has_foreign_vif(json_object_get(root, "nics")))
        return "one of its VIFs is served by another domain of its host";
    if (strcmp(word(built, "device_model_stubdomain", ""), "True") == 0)
        return "its QEMU runs in a domain of its own";
    if (strcmp(word(built, "disable_migrate", ""), "True") == 0)
        return "its configuration forbids to move it (nomigrate)";
    return NULL;
}

static bool read_domain(const json_t *root, struct xen_config *config, struct error *err)
{
    const json_t *created = json_object_get(root, "c_info");
    const json_t *built = json_object_get(root, "b_info");
    json_int_t vcpus = json_integer_value(json_object_get(built, "max_vcpus"));
    const char *uuid = word(created, "uuid", "");
    if (!uuid_is_valid(uuid))
        return error_set(err, ERROR_INVALID, "c_info/uuid: expected a UUID, not \"%s\"", uuid);
    memcpy(config->uuid, uuid, UUID_SIZE);
    config->name = memory_copy_text(word(created, "name", ""));
    config->vcpus = vcpus > 0 && vcpus <= INT16_MAX ? (int)vcpus : 1; /* libxl's default is 1 */
    config->why_not = find_why_not(root, built);
    return read_type(created, &config->type, err) &&
           read_disks(json_object_get(root, "disks"), config, err) &&
           read_vifs(json_object_get(root, "nics"), config, err);
}

bool xen_config_parse(const char *text, struct xen_config *out, struct error *err)
{
    json_auto_t *root = NULL;
    auto_xen_config struct xen_config config = {0};
    if (!json_parse(text, strlen(text), &root, err) || !read_domain(root, &config, err))
        return error_prefix(err, "configuration");
    *out = config;
    config = (struct xen_config){0};
    return true;
}

/* -- changing */

static const struct restore_disk *mapped_disk(const struct restore_map *map, const char *device)
{
    for (size_t i = 0; i < map->disk_count; i++)
        if (strcmp(map->disks[i].device, device) == 0)
            return &map->disks[i];
    return NULL;
}

static const struct restore_vif *mapped_vif(const struct restore_map *map, const char *mac)
{
    for (size_t i = 0; i < map->vif_count; i++)
        if (strcasecmp(map->vifs[i].mac, mac) == 0)
            return &map->vifs[i];
    return NULL;
}

static bool map_disk(json_t *item, const struct xen_disk *disk, const struct restore_map *map,
                     size_t *mapped, struct error *err)
{
    const struct restore_disk *to = mapped_disk(map, disk->device);
    if (!to && !disk->path)
        return true;
    if (!to)
        return error_set(err, ERROR_INVALID, "disk %s has no place on this host", disk->device);
    (*mapped)++;
    json_object_set_new(item, "pdev_path", json_string(to->path));
    json_object_set_new(item, "format", json_string(image_format_names[to->format]));
    json_object_set_new(item, "backend", json_string("qdisk"));
    /* what belonged to the source's backend */
    json_object_del(item, "script");
    json_object_del(item, "backend_domid");
    json_object_del(item, "backend_domname");
    return true;
}

static bool map_vif(json_t *item, const struct xen_vif *vif, const struct restore_map *map,
                    size_t *mapped, struct error *err)
{
    const struct restore_vif *to = mapped_vif(map, vif->mac);
    if (!to)
        return error_set(err, ERROR_INVALID, "VIF %s has no place on this host", vif->mac);
    (*mapped)++;
    json_object_set_new(item, "bridge", json_string(to->bridge));
    json_object_del(item, "ifname"); /* the source's; here libxl names it by the domain's id */
    return true;
}

static bool map_all(json_t *root, const struct xen_config *config, const struct restore_map *map,
                    struct error *err)
{
    json_t *disks = json_object_get(root, "disks");
    json_t *nics = json_object_get(root, "nics");
    size_t mapped = 0;
    for (size_t i = 0; i < config->disk_count; i++)
        if (!map_disk(json_array_get(disks, i), &config->disks[i], map, &mapped, err))
            return false;
    if (mapped != map->disk_count)
        return error_set(err, ERROR_INVALID, "the domain has %zu of the %zu mapped disks", mapped,
                         map->disk_count);
    mapped = 0;
    for (size_t i = 0; i < config->vif_count; i++)
        if (!map_vif(json_array_get(nics, i), &config->vifs[i], map, &mapped, err))
            return false;
    if (mapped != map->vif_count)
        return error_set(err, ERROR_INVALID, "the domain has %zu of the %zu mapped VIFs", mapped,
                         map->vif_count);
    return true;
}

bool xen_config_map(const char *text, const struct restore_map *map, char **out, struct error *err)
{
    json_auto_t *root = NULL;
    auto_xen_config struct xen_config config = {0};
    if (!xen_config_parse(text, &config, err) || !json_parse(text, strlen(text), &root, err) ||
        !map_all(root, &config, map, err))
        return false;
    /* The number that a restart chose (xen_restart.c) was for its host then; here it may be in use,
     * or one that libxl refuses because it was given back lately. */
    json_object_del(json_object_get(root, "c_info"), "domid");
    *out = json_dumps(root, JSON_COMPACT);
    return *out || error_set(err, ERROR_INTERNAL, "the mapped configuration cannot be written");
}
