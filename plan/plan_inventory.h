/* The inventory document: pools, hosts, SRs, links and VMs as they are, by name. docs/planning.md
 * describes it; what it refers to is checked by plan_resolve.h. */
#pragma once

#include "base/json.h"
#include "plan/plan_input.h"

struct plan_inventory_pool {
    char name[LIMIT_NAME + 1];
};
struct plan_inventory_host {
    char name[LIMIT_NAME + 1];
    char pool[LIMIT_NAME + 1];
    int64_t send_bytes_per_s, receive_bytes_per_s;
    uint64_t memory_free_bytes;
    int slots; /* 0 = the default */
    char cpu_vendor[33];
    char *features; /* cpu_features.h; NULL = not known */
    bool is_in_maintenance;
    struct json_array networks; /* char * */
};
struct plan_inventory_sr {
    char name[LIMIT_NAME + 1];
    char label[LIMIT_NAME + 1];
    struct json_array hosts; /* char *: those that reach it */
    uint64_t free_bytes;
    bool is_thin;
    int64_t bytes_per_s; /* 0 = no limit of its own */
};
struct plan_inventory_link {
    char from[LIMIT_NAME + 1], to[LIMIT_NAME + 1];
    int64_t bytes_per_s;
};
struct plan_inventory_disk {
    char sr[LIMIT_NAME + 1];
    uint64_t size_bytes, allocated_bytes;
};
struct plan_inventory_vm {
    char name[LIMIT_NAME + 1];
    char host[LIMIT_NAME + 1];
    uint64_t memory_bytes;
    int64_t dirty_bytes_per_s, write_bytes_per_s;
    char cpu_vendor[33];
    char *features;
    char why_not[161];
    struct json_array networks; /* char * */
    struct json_array disks;    /* struct plan_inventory_disk */
};
struct plan_inventory {
    struct json_array pools, hosts, srs, links, vms;
};
extern const struct json_field plan_inventory_fields[];
