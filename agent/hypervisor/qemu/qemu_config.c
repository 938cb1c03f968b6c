/* Decoding, checking and mapping of domain.json; see qemu_config.h. */
#include "agent/hypervisor/qemu/qemu_config.h"

#include "base/json_table.h"
#include "base/memory.h"

#include <ctype.h>
#include <string.h>

enum { CONFIG_LIMIT = 1 << 20, LIMIT_VCPUS = 64, LIMIT_CMDLINE = 2000 };
static const int64_t MIB = INT64_C(1) << 20;
#define LIMIT_MEMORY (INT64_C(4) << 40)

static const struct json_field disk_fields[] = {
    JSON_CHARS("device", qemu_disk, device, 1, true),
    JSON_TEXT("path", qemu_disk, path, 1, LIMIT_PATH, true),
    JSON_ENUM("format", qemu_disk, format, image_format_names, true),
    JSON_BOOL("iothread", qemu_disk, has_iothread, false),
    JSON_UINT64("size_bytes", qemu_disk, size_bytes, 0, LIMIT_SIZE_BYTES, false),
    {0},
};

static const struct json_field vif_fields[] = {
    JSON_CHARS("mac", qemu_vif, mac, 17, true),
    JSON_CHARS("bridge", qemu_vif, bridge, 1, true),
    {0},
};

static const struct json_field config_fields[] = {
    JSON_UUID("uuid", qemu_config, uuid, true),
    JSON_CHARS("name", qemu_config, name, 1, true),
    JSON_UINT64("memory_bytes", qemu_config, memory_bytes, 16 << 20, LIMIT_MEMORY, true),
    JSON_INT("vcpus", qemu_config, vcpus, 1, LIMIT_VCPUS, true),
    JSON_TEXT("kernel", qemu_config, kernel, 1, LIMIT_PATH, false),
    JSON_TEXT("initrd", qemu_config, initrd, 1, LIMIT_PATH, false),
    JSON_TEXT("cmdline", qemu_config, cmdline, 0, LIMIT_CMDLINE, false),
    JSON_LIST("disks", qemu_config, disks, qemu_disk, LIMIT_DISKS, disk_fields, true),
    JSON_LIST("vifs", qemu_config, vifs, qemu_vif, LIMIT_VIFS, vif_fields, true),
    JSON_CHARS("console", qemu_config, console, 0, false),
    JSON_CHARS("tick", qemu_config, tick, 0, false),
    JSON_CHARS("machine", qemu_config, machine, 0, false),
    JSON_CHARS("accelerator", qemu_config, accelerator, 0, false),
    {0},
};

/* Letters, digits, '-', '_' and '.', not beginning with '.': safe in a path and in QEMU's options.
 */
static bool is_plain_word(const char *text)
{
    if (!*text || *text == '.')
        return false;
    for (; *text; text++) {
        if (!isalnum((unsigned char)*text) && !strchr("-_.", *text))
            return false;
    }
    return true;
}

static bool is_mac(const char *text)
{
    for (int i = 0; i < 17; i++) {
        bool is_good = i % 3 == 2 ? text[i] == ':' : isxdigit((unsigned char)text[i]) != 0;
        if (!is_good)
            return false;
    }
    return text[17] == '\0';
}

static bool check_disk(const struct qemu_config *config, size_t index, struct error *err)
{
    const struct qemu_disk *disks = qemu_config_disks(config);
    if (!is_plain_word(disks[index].device))
        return error_set(err, ERROR_INVALID,
                         "/disks/%zu/device: expected letters, digits, '-' and '_'", index);
    if (disks[index].path[0] != '/')
        return error_set(err, ERROR_INVALID, "/disks/%zu/path: expected an absolute path", index);
    for (size_t i = 0; i < index; i++) {
        if (strcmp(disks[i].device, disks[index].device) == 0)
            return error_set(err, ERROR_INVALID, "/disks/%zu/device: \"%s\" is there twice", index,
                             disks[i].device);
    }
    return true;
}

static bool check_vif(const struct qemu_config *config, size_t index, struct error *err)
{
    const struct qemu_vif *vifs = qemu_config_vifs(config);
    if (!is_mac(vifs[index].mac))
        return error_set(err, ERROR_INVALID, "/vifs/%zu/mac: expected six hexadecimal pairs",
                         index);
    if (!is_plain_word(vifs[index].bridge))
        return error_set(err, ERROR_INVALID, "/vifs/%zu/bridge: expected the name of a bridge",
                         index);
    for (size_t i = 0; i < index; i++) {
        if (strcasecmp(vifs[i].mac, vifs[index].mac) == 0)
            return error_set(err, ERROR_INVALID, "/vifs/%zu/mac: %s is there twice", index,
                             vifs[i].mac);
    }
    return true;
}

static bool check_word(const char *pointer, const char *word, struct error *err)
{
    if (!*word || is_plain_word(word))
        return true;
    return error_set(err, ERROR_INVALID, "%s: expected letters, digits, '-', '_' and '.'", pointer);
}

/* Socket names of the driver itself begin with other words. */
static bool check_socket(const char *pointer, const char *name, const char *word, struct error *err)
{
    if (!*name || (is_plain_word(name) && strncmp(name, word, strlen(word)) == 0))
        return true;
    return error_set(err, ERROR_INVALID, "%s: expected a name that begins with \"%s\"", pointer,
                     word);
}

static bool check_config(const struct qemu_config *config, struct error *err)
{
    if (config->memory_bytes % (uint64_t)MIB)
        return error_set(err, ERROR_INVALID, "/memory_bytes: expected a multiple of 1 MiB");
    if (!check_socket("/console", config->console, "console", err) ||
        !check_socket("/tick", config->tick, "tick", err) ||
        !check_word("/machine", config->machine, err) ||
        !check_word("/accelerator", config->accelerator, err))
        return false;
    for (size_t i = 0; i < config->disks.count; i++) {
        if (!check_disk(config, i, err))
            return false;
    }
    for (size_t i = 0; i < config->vifs.count; i++) {
        if (!check_vif(config, i, err))
            return false;
    }
    return true;
}

bool qemu_config_parse(const char *text, struct qemu_config *out, struct error *err)
{
    struct qemu_config config = {0};
    if (strlen(text) > CONFIG_LIMIT)
        return error_set(err, ERROR_INVALID, "the domain's description is too long");
    if (!json_decode_text(text, strlen(text), config_fields, &config, err))
        return error_prefix(err, "domain");
    if (!check_config(&config, err)) {
        qemu_config_done(&config);
        return error_prefix(err, "domain");
    }
    *out = config;
    return true;
}

char *qemu_config_text(const struct qemu_config *config)
{
    return json_encode_text(config_fields, config);
}

void qemu_config_done(struct qemu_config *config)
{
    json_release(config_fields, config);
}

static bool map_disk(struct qemu_disk *disk, const struct restore_map *map, struct error *err)
{
    for (size_t i = 0; i < map->disk_count; i++) {
        const struct restore_disk *mapped = &map->disks[i];
        if (strcmp(mapped->device, disk->device) != 0)
            continue;
        free(disk->path);
        disk->path = memory_copy_text(mapped->path);
        disk->format = mapped->format;
        return true;
    }
    return error_set(err, ERROR_INVALID, "disk %s is not mapped", disk->device);
}

static bool map_vif(struct qemu_vif *vif, const struct restore_map *map, struct error *err)
{
    for (size_t i = 0; i < map->vif_count; i++) {
        const struct restore_vif *mapped = &map->vifs[i];
        if (strcasecmp(mapped->mac, vif->mac) != 0)
            continue;
        if (strlen(mapped->bridge) >= sizeof vif->bridge)
            return error_set(err, ERROR_NOT_FOUND, "no bridge %s on this host", mapped->bridge);
        memcpy(vif->bridge, mapped->bridge, strlen(mapped->bridge) + 1);
        return true;
    }
    return error_set(err, ERROR_INVALID, "VIF %s is not mapped", vif->mac);
}

bool qemu_config_map(struct qemu_config *config, const struct restore_map *map, struct error *err)
{
    if (map->disk_count != config->disks.count || map->vif_count != config->vifs.count)
        return error_set(err, ERROR_INVALID,
                         "the map has %zu disks and %zu VIFs, the domain %zu and %zu",
                         map->disk_count, map->vif_count, config->disks.count, config->vifs.count);
    for (size_t i = 0; i < config->disks.count; i++) {
        if (!map_disk(&qemu_config_disks(config)[i], map, err))
            return false;
    }
    for (size_t i = 0; i < config->vifs.count; i++) {
        if (!map_vif(&qemu_config_vifs(config)[i], map, err))
            return false;
    }
    return check_config(config, err);
}
