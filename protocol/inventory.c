/* Decoding tables of the inventory; see inventory.h. */
#include "protocol/inventory.h"

#include "base/json_table.h"

static const struct json_field guest_type_fields[] = {
    JSON_CHARS("type", inventory_guest_type, type, 1, true),
    JSON_BOOL("is_live", inventory_guest_type, is_live, true),
    JSON_CHARS("why_not_live", inventory_guest_type, why_not_live, 0, true),
    JSON_CHARS("features", inventory_guest_type, features, 0, true),
    {0},
};

static const struct json_field network_fields[] = {
    JSON_CHARS("name", inventory_network, name, 1, true),
    JSON_CHARS("bridge", inventory_network, bridge, 0, true),
    JSON_CHARS("why_not", inventory_network, why_not, 0, false),
    JSON_INT("vlan", inventory_network, vlan, 0, 4094, false),
    {0},
};

static const struct json_field link_fields[] = {
    JSON_CHARS("name", inventory_link, name, 1, true),
    JSON_CHARS("address", inventory_link, address, 1, true),
    JSON_INT("port", inventory_link, port, 1, 65535, true),
    {0},
};

static const struct json_field vdi_fields[] = {
    JSON_UUID("id", inventory_vdi, id, true),
    JSON_ENUM("format", inventory_vdi, format, image_format_names, true),
    JSON_BYTES("size_bytes", inventory_vdi, size_bytes, true),
    JSON_BYTES("allocated_bytes", inventory_vdi, allocated_bytes, true),
    {0},
};

static const struct json_field sr_fields[] = {
    JSON_UUID("id", inventory_sr, id, true),
    JSON_CHARS("name", inventory_sr, name, 1, true),
    JSON_CHARS("type", inventory_sr, type, 1, true),
    JSON_BYTES("size_bytes", inventory_sr, size_bytes, true),
    JSON_BYTES("free_bytes", inventory_sr, free_bytes, true),
    JSON_LIST("vdis", inventory_sr, vdis, inventory_vdi, LIMIT_VDIS, vdi_fields, true),
    {0},
};

static const struct json_field disk_fields[] = {
    JSON_CHARS("device", inventory_disk, device, 1, true),
    JSON_UUID("vdi", inventory_disk, vdi, true),
    JSON_ENUM("format", inventory_disk, format, image_format_names, true),
    JSON_BYTES("size_bytes", inventory_disk, size_bytes, true),
    JSON_BOOL("is_movable", inventory_disk, is_movable, true),
    JSON_CHARS("why_not", inventory_disk, why_not, 0, true),
    {0},
};

static const struct json_field vif_fields[] = {
    JSON_CHARS("mac", inventory_vif, mac, 17, true),
    JSON_CHARS("network", inventory_vif, network, 0, true),
    {0},
};

static const struct json_field domain_fields[] = {
    JSON_UUID("uuid", inventory_domain, uuid, true),
    JSON_CHARS("name", inventory_domain, name, 1, true),
    JSON_ENUM("state", inventory_domain, state, domain_state_names, true),
    JSON_BYTES("memory_bytes", inventory_domain, memory_bytes, true),
    JSON_INT("vcpus", inventory_domain, vcpus, 1, 4096, true),
    JSON_CHARS("type", inventory_domain, type, 0, false),
    JSON_CHARS("features", inventory_domain, features, 0, false),
    JSON_CHARS("why_not", inventory_domain, why_not, 0, false),
    JSON_LIST("disks", inventory_domain, disks, inventory_disk, LIMIT_DISKS, disk_fields, true),
    JSON_LIST("vifs", inventory_domain, vifs, inventory_vif, LIMIT_VIFS, vif_fields, true),
    {0},
};

const struct json_field inventory_fields[] = {
    JSON_CHARS("hypervisor", inventory, hypervisor, 1, true),
    JSON_CHARS("accelerator", inventory, accelerator, 1, true),
    JSON_CHARS("version", inventory, version, 0, true),
    JSON_CHARS("cpu_vendor", inventory, cpu_vendor, 0, true),
    JSON_CHARS("cpu_model", inventory, cpu_model, 0, true),
    JSON_INT("cpus", inventory, cpus, 1, 65536, true),
    JSON_BYTES("memory_bytes", inventory, memory_bytes, true),
    JSON_BYTES("memory_free_bytes", inventory, memory_free_bytes, true),
    JSON_CHARS("link_address", inventory, link_address, 1, true),
    JSON_INT("link_port", inventory, link_port, 1, 65535, true),
    JSON_LIST("links", inventory, links, inventory_link, LIMIT_LINKS, link_fields, false),
    JSON_LIST("guest_types", inventory, guest_types, inventory_guest_type, LIMIT_GUEST_TYPES,
              guest_type_fields, false),
    JSON_LIST("networks", inventory, networks, inventory_network, LIMIT_NETWORKS, network_fields,
              true),
    JSON_LIST("srs", inventory, srs, inventory_sr, LIMIT_SRS, sr_fields, true),
    JSON_LIST("domains", inventory, domains, inventory_domain, LIMIT_DOMAINS, domain_fields, true),
    {0},
};
