/* The request document: what shall move, where it may go and what must hold. docs/planning.md
 * describes it; names are checked against the inventory by plan_resolve.h. */
#pragma once

#include "base/json.h"
#include "plan/plan_input.h"

struct plan_request_vm {
    char vm[LIMIT_NAME + 1];
    char host[LIMIT_NAME + 1]; /* "" = the planner chooses */
    int priority;
};
struct plan_request_group {
    struct json_array vms; /* char * */
};
struct plan_request_running { /* a move that is under way while this is planned */
    char vm[LIMIT_NAME + 1];
    char host[LIMIT_NAME + 1];
    struct json_array disks; /* struct plan_request_left, one for each disk, in order */
    uint64_t memory_left_bytes;
    int64_t measured_bytes_per_s;
};
struct plan_request_left {
    uint64_t left_bytes;
};
struct plan_request_mapping {
    struct json_array networks, srs; /* struct json_pair */
};
struct plan_request {
    struct json_array evacuate_hosts, evacuate_pools;       /* char * */
    struct json_array vms;                                  /* struct plan_request_vm */
    struct json_array destination_hosts, destination_pools; /* char *; none at all = everywhere */
    struct json_array exclude, pinned;                      /* char *: VMs */
    struct json_array apart, together;                      /* struct plan_request_group */
    struct json_array running;                              /* struct plan_request_running */
    struct plan_request_mapping mapping;
    int at_once, slots;
    int64_t handoff_ms;
    bool has_handoff;
    int64_t deadline_s;
    bool has_deadline;
    bool is_without_helpers;
    int64_t seed, effort;
};
extern const struct json_field plan_request_fields[];
