/* What a plan is made from, all names resolved: hosts, SRs, links and VMs as they are, and what was
 * asked for. No clock, no file, no database: a caller fills it (plan_resolve.h does it from two
 * JSON documents) and may do so again in the middle of the moves, with what is left of the running
 * ones. */
#pragma once

#include "protocol/cpu_features.h"
#include "protocol/vocabulary.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    LIMIT_PLAN_POOLS = 256,
    LIMIT_PLAN_HOSTS = 4096,
    LIMIT_PLAN_SRS = 8192,
    LIMIT_PLAN_VMS = 65536,
    LIMIT_PLAN_LINKS = 4096,
    LIMIT_PLAN_GROUPS = 4096,
    LIMIT_PLAN_NAMES = 1024, /* different networks */
    LIMIT_PLAN_SLOTS = 1024, /* moves of a host at once */
};

struct plan_name {
    char text[LIMIT_NAME + 1];
};

struct plan_numbers { /* owned list of indices */
    int *items;
    size_t count;
};

struct plan_host {
    struct plan_name name;
    int pool;
    double send_bytes_per_s,
        receive_bytes_per_s;    /* of the migration network, full duplex; never 0 */
    uint64_t memory_free_bytes; /* that no VM and no running move holds */
    int slots;                  /* moves that it takes part in at once */
    char cpu_vendor[33];
    bool has_features; /* false: its CPU is not known, any guest fits */
    struct cpu_features features;
    bool is_destination; /* may take VMs of this plan */
    bool may_help;       /* may hold a VM for a while that goes elsewhere */
    bool is_emptied;
    struct plan_numbers networks; /* in plan_input.networks */
    struct plan_numbers srs;
};

struct plan_sr {
    struct plan_name name;
    struct plan_name label; /* what a mapping calls it; SRs of several hosts may share it */
    uint64_t free_bytes;    /* that no running move holds */
    bool is_thin;           /* an image takes what it has allocated, not its size */
    double bytes_per_s;     /* read and written together; 0 = more than the network */
};

struct plan_link { /* all that one pool sends to another */
    int from, to;
    double bytes_per_s;
};

struct plan_disk {
    int sr;
    uint64_t size_bytes, allocated_bytes;
    double left_bytes; /* of a running move; else what is allocated */
};

struct plan_vm {
    struct plan_name name;
    int host;
    uint64_t memory_bytes;
    double dirty_bytes_per_s; /* memory that it writes anew, seen over a pass */
    double write_bytes_per_s; /* to all of its disks: sent again through the mirror */
    char cpu_vendor[33];
    bool has_features;
    struct cpu_features features;
    char why_not[161]; /* why it cannot move at all; "" = it can */
    struct plan_disk *disks;
    size_t disk_count;
    struct plan_numbers networks; /* in plan_input.networks */

    bool is_wanted;  /* it shall leave its host */
    bool is_pinned;  /* and must not */
    int destination; /* -1 = the planner chooses */
    int priority;    /* higher ones start first where two want the same */
    bool is_running; /* on its way to `destination`, which holds its room already */
    double memory_left_bytes;
    double
        measured_bytes_per_s; /* of a running move: no more than this is expected of it; 0 = none */
};

struct plan_group {
    struct plan_numbers vms;
    bool is_apart; /* anti-affinity: no two on one host; else: all on one host */
};

struct plan_options {
    int at_once;      /* moves at once in all; 0 = no limit */
    double handoff_s; /* what each move takes beside sending */
    bool has_deadline;
    double deadline_s; /* from now */
    bool may_help;     /* a VM may go over a third host to break a cycle */
    uint64_t seed;
    int64_t effort; /* looks at moves that the search may take after its first schedule; 0 = by how
                       many there are */
};

struct plan_input {
    struct plan_name *pools;
    size_t pool_count;
    struct plan_host *hosts;
    size_t host_count;
    struct plan_sr *srs;
    size_t sr_count;
    struct plan_link *links;
    size_t link_count;
    struct plan_vm *vms;
    size_t vm_count;
    struct plan_name *networks;
    size_t network_count;
    struct plan_group *groups;
    size_t group_count;
    int *network_map; /* of each network: what it is called in another pool; -1 = unmapped */
    struct plan_name *sr_map; /* of each SR: name or label at the destination; "" = unmapped */
    struct plan_options options;
};
void plan_input_done(struct plan_input *input);

bool plan_numbers_have(const struct plan_numbers *numbers, int item);
