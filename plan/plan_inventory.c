/* Decoding tables of the inventory document; see plan_inventory.h. */
#include "plan/plan_inventory.h"

#include "base/json_table.h"

static const struct json_field pool_fields[] = {
    JSON_CHARS("name", plan_inventory_pool, name, 1, true),
    {0},
};

static const struct json_field host_fields[] = {
    JSON_CHARS("name", plan_inventory_host, name, 1, true),
    JSON_CHARS("pool", plan_inventory_host, pool, 1, true),
    JSON_INT64("send_bytes_per_s", plan_inventory_host, send_bytes_per_s, 1, INT64_MAX, true),
    JSON_INT64("receive_bytes_per_s", plan_inventory_host, receive_bytes_per_s, 1, INT64_MAX, true),
    JSON_UINT64("memory_free_bytes", plan_inventory_host, memory_free_bytes, 0, LIMIT_SIZE_BYTES,
                true),
    JSON_INT("slots", plan_inventory_host, slots, 1, LIMIT_PLAN_SLOTS, false),
    JSON_CHARS("cpu_vendor", plan_inventory_host, cpu_vendor, 0, false),
    JSON_TEXT("features", plan_inventory_host, features, 0, LIMIT_FEATURES, false),
    JSON_BOOL("maintenance", plan_inventory_host, is_in_maintenance, false),
    JSON_TEXTS("networks", plan_inventory_host, networks, LIMIT_NETWORKS, false),
    {0},
};

static const struct json_field sr_fields[] = {
    JSON_CHARS("name", plan_inventory_sr, name, 1, true),
    JSON_CHARS("label", plan_inventory_sr, label, 1, false),
    JSON_TEXTS("hosts", plan_inventory_sr, hosts, LIMIT_PLAN_HOSTS, true),
    JSON_UINT64("free_bytes", plan_inventory_sr, free_bytes, 0, INT64_MAX / 4, true),
    JSON_BOOL("thin", plan_inventory_sr, is_thin, false),
    JSON_INT64("bytes_per_s", plan_inventory_sr, bytes_per_s, 0, INT64_MAX, false),
    {0},
};

static const struct json_field link_fields[] = {
    JSON_CHARS("from", plan_inventory_link, from, 1, true),
    JSON_CHARS("to", plan_inventory_link, to, 1, true),
    JSON_INT64("bytes_per_s", plan_inventory_link, bytes_per_s, 1, INT64_MAX, true),
    {0},
};

static const struct json_field disk_fields[] = {
    JSON_CHARS("sr", plan_inventory_disk, sr, 1, true),
    JSON_UINT64("size_bytes", plan_inventory_disk, size_bytes, 0, LIMIT_SIZE_BYTES, true),
    JSON_UINT64("allocated_bytes", plan_inventory_disk, allocated_bytes, 0, LIMIT_SIZE_BYTES, true),
    {0},
};

static const struct json_field vm_fields[] = {
    JSON_CHARS("name", plan_inventory_vm, name, 1, true),
    JSON_CHARS("host", plan_inventory_vm, host, 1, true),
    JSON_UINT64("memory_bytes", plan_inventory_vm, memory_bytes, 1, LIMIT_SIZE_BYTES, true),
    JSON_INT64("dirty_bytes_per_s", plan_inventory_vm, dirty_bytes_per_s, 0, INT64_MAX / 4, false),
    JSON_INT64("write_bytes_per_s", plan_inventory_vm, write_bytes_per_s, 0, INT64_MAX / 4, false),
    JSON_CHARS("cpu_vendor", plan_inventory_vm, cpu_vendor, 0, false),
    JSON_TEXT("features", plan_inventory_vm, features, 0, LIMIT_FEATURES, false),
    JSON_CHARS("why_not", plan_inventory_vm, why_not, 0, false),
    JSON_TEXTS("networks", plan_inventory_vm, networks, LIMIT_VIFS, false),
    JSON_LIST("disks", plan_inventory_vm, disks, plan_inventory_disk, LIMIT_DISKS, disk_fields,
              false),
    {0},
};

const struct json_field plan_inventory_fields[] = {
    JSON_LIST("pools", plan_inventory, pools, plan_inventory_pool, LIMIT_PLAN_POOLS, pool_fields,
              true),
    JSON_LIST("hosts", plan_inventory, hosts, plan_inventory_host, LIMIT_PLAN_HOSTS, host_fields,
              true),
    JSON_LIST("srs", plan_inventory, srs, plan_inventory_sr, LIMIT_PLAN_SRS, sr_fields, false),
    JSON_LIST("links", plan_inventory, links, plan_inventory_link, LIMIT_PLAN_LINKS, link_fields,
              false),
    JSON_LIST("vms", plan_inventory, vms, plan_inventory_vm, LIMIT_PLAN_VMS, vm_fields, true),
    {0},
};
