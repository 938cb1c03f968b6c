/* Decoding table of the migration spec; see spec.h. */
#include "protocol/spec.h"

#include "base/json_table.h"

static const struct json_field host_fields[] = {
    JSON_UUID("id", spec_host, id, true),
    JSON_CHARS("address", spec_host, address, 1, true),
    JSON_INT("port", spec_host, port, 1, 65535, true),
    {0},
};

static const struct json_field vdi_fields[] = {
    JSON_UUID("sr", spec_vdi, sr, true),
    JSON_UUID("vdi", spec_vdi, vdi, true),
    JSON_ENUM("format", spec_vdi, format, image_format_names, true),
    {0},
};

static const struct json_field disk_fields[] = {
    JSON_CHARS("device", spec_disk, device, 1, true),
    JSON_UINT64("size_bytes", spec_disk, size_bytes, 512, LIMIT_SIZE_BYTES, true),
    JSON_OBJECT("source", spec_disk, source, vdi_fields, true),
    JSON_OBJECT("destination", spec_disk, destination, vdi_fields, true),
    {0},
};

static const struct json_field vif_fields[] = {
    JSON_CHARS("mac", spec_vif, mac, 17, true),
    JSON_CHARS("source_network", spec_vif, source_network, 0, true),
    JSON_CHARS("destination_network", spec_vif, destination_network, 1, true),
    {0},
};

const struct json_field migration_spec_fields[] = {
    JSON_UUID("migration", migration_spec, migration, true),
    JSON_UUID("domain", migration_spec, domain, true),
    JSON_CHARS("name", migration_spec, name, 1, true),
    JSON_BYTES("memory_bytes", migration_spec, memory_bytes, true),
    JSON_ENUM("mode", migration_spec, mode, migration_mode_names, false),
    JSON_OBJECT("source", migration_spec, source, host_fields, true),
    JSON_OBJECT("destination", migration_spec, destination, host_fields, true),
    JSON_LIST("disks", migration_spec, disks, spec_disk, LIMIT_DISKS, disk_fields, true),
    JSON_LIST("vifs", migration_spec, vifs, spec_vif, LIMIT_VIFS, vif_fields, true),
    JSON_BYTES("bandwidth_bytes_per_s", migration_spec, bandwidth_bytes_per_s, false),
    JSON_INT("stall_limit_ms", migration_spec, stall_limit_ms, 100, 600000, true),
    JSON_INT("parallel_disks", migration_spec, parallel_disks, 1, LIMIT_DISKS, true),
    {JSON_ROW("traceparent", migration_spec, traceparent, JSON_FIELD_CHARS, false),
     .size = JSON_MEMBER_SIZE(migration_spec, traceparent),
     .presence_offset = offsetof(struct migration_spec, has_traceparent)},
    {0},
};
