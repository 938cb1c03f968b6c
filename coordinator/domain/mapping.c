/* Decoding, merging and looking up maps; see mapping.h. */
#include "coordinator/domain/mapping.h"

#include "base/cleanup.h"
#include "base/json_table.h"
#include "base/memory.h"

#include <stdio.h>
#include <string.h>

enum { POINTER_SIZE = 160 };

/* The document's first level; "disks" is an object whose keys are devices, decoded by hand. */
struct document {
    struct json_array networks, srs, vifs;
    char *disks;
};
static const struct json_field document_fields[] = {
    JSON_MAP("networks", document, networks, LIMIT_MAPPING_ENTRIES, false),
    JSON_MAP("srs", document, srs, LIMIT_MAPPING_ENTRIES, false),
    {JSON_ROW("disks", document, disks, JSON_FIELD_ANY, false), .max = LIMIT_MAPPING},
    JSON_MAP("vifs", document, vifs, LIMIT_MAPPING_ENTRIES, false),
    {0},
};

struct disk_document {
    char sr[LIMIT_NAME + 1];
    bool has_format;
    enum image_format format;
};
static const struct json_field disk_fields[] = {
    JSON_CHARS("sr", disk_document, sr, 1, false),
    {JSON_ROW("format", disk_document, format, JSON_FIELD_ENUM, false), .names = image_format_names,
     .presence_offset = offsetof(struct disk_document, has_format)},
    {0},
};

static void member_pointer(const char *map, const char *key, char out[POINTER_SIZE])
{
    out[0] = '\0';
    field_pointer_append(out, POINTER_SIZE, map);
    field_pointer_append(out, POINTER_SIZE, key);
}

static bool decode_disk(const char *device, const json_t *value, struct mapping_disk *out,
                        struct field_errors *errors, struct error *err)
{
    char pointer[POINTER_SIZE];
    size_t found = field_errors_count(errors);
    member_pointer("disks", device, pointer);
    if (device[0] == '\0' || strlen(device) >= sizeof out->device)
        return field_wrong(errors, pointer, "has another name", "a device name of 1 to 31 bytes",
                           err);
    struct disk_document document = {0};
    if (!json_decode_all(value, disk_fields, &document, errors, err)) {
        field_errors_prefix(errors, found, pointer);
        return error_prefix(err, "%s", pointer);
    }
    if (!document.sr[0] && !document.has_format)
        return field_wrong(errors, pointer, "is empty", "\"sr\", \"format\" or both", err);
    *out = (struct mapping_disk){.has_format = document.has_format, .format = document.format};
    memcpy(out->device, device, strlen(device) + 1);
    memcpy(out->sr, document.sr, sizeof out->sr);
    return true;
}

static bool decode_disks(const char *text, struct json_array *out, struct field_errors *errors,
                         struct error *err)
{
    if (!text)
        return true;
    json_auto_t *root = json_loads(text, JSON_DECODE_ANY, NULL);
    if (!json_is_object(root) || json_object_size(root) > LIMIT_DISKS)
        return field_wrong(errors, "/disks", "is something else", "an object of at most 64 members",
                           err);
    auto_free struct mapping_disk *disks =
        memory_array(json_object_size(root), sizeof(struct mapping_disk));
    size_t count = 0;
    const char *device;
    json_t *value;
    json_object_foreach(root, device, value)
    {
        if (!decode_disk(device, value, &disks[count++], errors, err))
            return false;
    }
    *out = (struct json_array){.items = take(disks), .count = count};
    return true;
}

static bool check_names(const struct json_array *map, const char *what, struct field_errors *errors,
                        struct error *err)
{
    const struct json_pair *pairs = map->items;
    for (size_t i = 0; i < map->count; i++) {
        char pointer[POINTER_SIZE];
        if (pairs[i].key[0] != '\0' && strlen(pairs[i].key) <= LIMIT_NAME &&
            strlen(pairs[i].value) <= LIMIT_NAME)
            continue;
        member_pointer(what, pairs[i].key, pointer);
        return field_wrong(errors, pointer, "has other names", "names of 1 to 128 bytes", err);
    }
    return true;
}

bool mapping_decode(const char *text, struct mapping *out, struct field_errors *errors,
                    struct error *err)
{
    struct document document = {0};
    if (!json_decode_text_all(text, strlen(text), document_fields, &document, errors, err))
        return false;
    struct json_array disks = {0};
    if (!check_names(&document.networks, "networks", errors, err) ||
        !check_names(&document.srs, "srs", errors, err) ||
        !check_names(&document.vifs, "vifs", errors, err) ||
        !decode_disks(document.disks, &disks, errors, err)) {
        json_release(document_fields, &document);
        return false;
    }
    *out = (struct mapping){
        .networks = document.networks, .srs = document.srs, .vifs = document.vifs, .disks = disks};
    free(document.disks);
    return true;
}

static char *encode_disks(const struct json_array *array)
{
    json_auto_t *object = json_object();
    const struct mapping_disk *disks = array->items;
    for (size_t i = 0; i < array->count; i++) {
        json_t *disk = json_object();
        if (disks[i].sr[0])
            json_object_set_new(disk, "sr", json_string(disks[i].sr));
        if (disks[i].has_format)
            json_object_set_new(disk, "format", json_string(image_format_names[disks[i].format]));
        json_object_set_new(object, disks[i].device, disk);
    }
    return json_dumps(object, JSON_COMPACT);
}

char *mapping_encode(const struct mapping *mapping)
{
    auto_free char *disks = encode_disks(&mapping->disks);
    struct document document = {
        .networks = mapping->networks, .srs = mapping->srs, .vifs = mapping->vifs, .disks = disks};
    return json_encode_text(document_fields, &document);
}

void mapping_done(struct mapping *mapping)
{
    struct document document = {
        .networks = mapping->networks, .srs = mapping->srs, .vifs = mapping->vifs};
    json_release(document_fields, &document);
    free(mapping->disks.items);
    *mapping = (struct mapping){0};
}

static const char *look_up(const struct json_array *map, const char *key)
{
    const struct json_pair *pairs = map->items;
    for (size_t i = 0; i < map->count; i++) {
        if (strcmp(pairs[i].key, key) == 0)
            return pairs[i].value;
    }
    return NULL;
}

static const struct mapping_disk *find_disk(const struct json_array *array, const char *device)
{
    const struct mapping_disk *disks = array->items;
    for (size_t i = 0; i < array->count; i++) {
        if (strcmp(disks[i].device, device) == 0)
            return &disks[i];
    }
    return NULL;
}

static struct json_array overlay_pairs(const struct json_array *base, const struct json_array *over)
{
    struct json_pair *merged = memory_array(base->count + over->count, sizeof *merged);
    size_t count = 0;
    const struct json_pair *first = over->items;
    for (size_t i = 0; i < over->count; i++)
        merged[count++] =
            (struct json_pair){memory_copy_text(first[i].key), memory_copy_text(first[i].value)};
    const struct json_pair *second = base->items;
    for (size_t i = 0; i < base->count; i++) {
        if (!look_up(over, second[i].key))
            merged[count++] = (struct json_pair){memory_copy_text(second[i].key),
                                                 memory_copy_text(second[i].value)};
    }
    return (struct json_array){.items = merged, .count = count};
}

static struct json_array overlay_disks(const struct json_array *base, const struct json_array *over)
{
    struct mapping_disk *merged = memory_array(base->count + over->count, sizeof *merged);
    size_t count = 0;
    const struct mapping_disk *first = over->items;
    for (size_t i = 0; i < over->count; i++)
        merged[count++] = first[i];
    const struct mapping_disk *second = base->items;
    for (size_t i = 0; i < base->count; i++) {
        if (!find_disk(over, second[i].device))
            merged[count++] = second[i];
    }
    return (struct json_array){.items = merged, .count = count};
}

void mapping_overlay(const struct mapping *base, const struct mapping *over, struct mapping *out)
{
    *out = (struct mapping){.networks = overlay_pairs(&base->networks, &over->networks),
                            .srs = overlay_pairs(&base->srs, &over->srs),
                            .vifs = overlay_pairs(&base->vifs, &over->vifs),
                            .disks = overlay_disks(&base->disks, &over->disks)};
}

void mapping_vlan_word(int vlan, char out[MAPPING_VLAN_SIZE])
{
    snprintf(out, MAPPING_VLAN_SIZE, "vlan:%d", vlan);
}

const char *mapping_network_of(const struct mapping *mapping, const char *mac,
                               const struct mapping_network *network)
{
    char vlan[MAPPING_VLAN_SIZE];
    mapping_vlan_word(network->vlan, vlan);
    const char *found = look_up(&mapping->vifs, mac);
    if (!found && network->id[0])
        found = look_up(&mapping->networks, network->id);
    if (!found && network->name[0])
        found = look_up(&mapping->networks, network->name);
    return found || network->vlan == 0 ? found : look_up(&mapping->networks, vlan);
}

const char *mapping_sr_of(const struct mapping *mapping, const char *device, const char *sr_id,
                          const char *sr_name)
{
    const struct mapping_disk *disk = find_disk(&mapping->disks, device);
    if (disk && disk->sr[0])
        return disk->sr;
    const char *by_id = look_up(&mapping->srs, sr_id);
    return by_id ? by_id : look_up(&mapping->srs, sr_name);
}

enum image_format mapping_format_of(const struct mapping *mapping, const char *device,
                                    enum image_format current)
{
    const struct mapping_disk *disk = find_disk(&mapping->disks, device);
    return disk && disk->has_format ? disk->format : current;
}
