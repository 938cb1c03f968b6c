/* Decoding tables of the request document; see plan_request.h. */
#include "plan/plan_request.h"

#include "base/json_table.h"

static const struct json_field vm_fields[] = {
    JSON_CHARS("vm", plan_request_vm, vm, 1, true),
    JSON_CHARS("host", plan_request_vm, host, 1, false),
    JSON_INT("priority", plan_request_vm, priority, -1000, 1000, false),
    {0},
};

static const struct json_field group_fields[] = {
    JSON_TEXTS("vms", plan_request_group, vms, LIMIT_PLAN_VMS, true),
    {0},
};

static const struct json_field left_fields[] = {
    JSON_UINT64("left_bytes", plan_request_left, left_bytes, 0, LIMIT_SIZE_BYTES, true),
    {0},
};

static const struct json_field running_fields[] = {
    JSON_CHARS("vm", plan_request_running, vm, 1, true),
    JSON_CHARS("host", plan_request_running, host, 1, true),
    JSON_LIST("disks", plan_request_running, disks, plan_request_left, LIMIT_DISKS, left_fields,
              true),
    JSON_UINT64("memory_left_bytes", plan_request_running, memory_left_bytes, 0, LIMIT_SIZE_BYTES,
                true),
    JSON_INT64("measured_bytes_per_s", plan_request_running, measured_bytes_per_s, 0, INT64_MAX,
               false),
    {0},
};

static const struct json_field mapping_fields[] = {
    JSON_MAP("networks", plan_request_mapping, networks, LIMIT_PLAN_NAMES, false),
    JSON_MAP("srs", plan_request_mapping, srs, LIMIT_PLAN_SRS, false),
    {0},
};

const struct json_field plan_request_fields[] = {
    JSON_TEXTS("evacuate_hosts", plan_request, evacuate_hosts, LIMIT_PLAN_HOSTS, false),
    JSON_TEXTS("evacuate_pools", plan_request, evacuate_pools, LIMIT_PLAN_POOLS, false),
    JSON_LIST("vms", plan_request, vms, plan_request_vm, LIMIT_PLAN_VMS, vm_fields, false),
    JSON_TEXTS("destination_hosts", plan_request, destination_hosts, LIMIT_PLAN_HOSTS, false),
    JSON_TEXTS("destination_pools", plan_request, destination_pools, LIMIT_PLAN_POOLS, false),
    JSON_TEXTS("exclude", plan_request, exclude, LIMIT_PLAN_VMS, false),
    JSON_TEXTS("pinned", plan_request, pinned, LIMIT_PLAN_VMS, false),
    JSON_LIST("apart", plan_request, apart, plan_request_group, LIMIT_PLAN_GROUPS, group_fields,
              false),
    JSON_LIST("together", plan_request, together, plan_request_group, LIMIT_PLAN_GROUPS,
              group_fields, false),
    JSON_LIST("running", plan_request, running, plan_request_running, LIMIT_PLAN_VMS,
              running_fields, false),
    JSON_OBJECT("mapping", plan_request, mapping, mapping_fields, false),
    JSON_INT("at_once", plan_request, at_once, 0, LIMIT_PLAN_VMS, false),
    JSON_INT("slots", plan_request, slots, 1, LIMIT_PLAN_SLOTS, false),
    {JSON_ROW("handoff_ms", plan_request, handoff_ms, JSON_FIELD_INT64, false), .max = 3600000,
     .presence_offset = offsetof(struct plan_request, has_handoff)},
    {JSON_ROW("deadline_s", plan_request, deadline_s, JSON_FIELD_INT64, false), .min = -INT32_MAX,
     .max = INT32_MAX, .presence_offset = offsetof(struct plan_request, has_deadline)},
    JSON_BOOL("without_helpers", plan_request, is_without_helpers, false),
    JSON_INT64("seed", plan_request, seed, 0, INT32_MAX, false),
    JSON_INT64("effort", plan_request, effort, 0, INT32_MAX, false),
    {0},
};
