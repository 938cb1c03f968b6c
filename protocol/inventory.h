/* What an agent reports of its host. Complete each time; the coordinator replaces what it had. */
#pragma once

#include "base/json.h"
#include "protocol/vocabulary.h"

/* A type of guest that the host can run: "pv", "pvh", "hvm"; "qemu" of the QEMU driver. */
struct inventory_guest_type {
    char type[8];
    bool is_live;                      /* its memory can be sent while it runs */
    char why_not_live[160];            /* is_live false: the reason */
    char features[LIMIT_FEATURES + 1]; /* the most that its CPU can be told (cpu_features.h); ""
                                          when the hypervisor has no such limit */
};
struct inventory_network {
    char name[LIMIT_NAME + 1];
    char bridge[LIMIT_NAME + 1];
    char why_not[160]; /* why no VIF can be put on it; "" = it can */
    int vlan;          /* 0 = untagged, or not told */
};
/* An address of the host's link on a transfer network that migrations can name. */
struct inventory_link {
    char name[LIMIT_NAME + 1];
    char address[64];
    int port;
};
struct inventory_vdi {
    char id[UUID_SIZE];
    enum image_format format;
    uint64_t size_bytes;      /* virtual */
    uint64_t allocated_bytes; /* on the SR */
};
struct inventory_sr {
    char id[UUID_SIZE]; /* durable: a marker file or tag on the storage itself */
    char name[LIMIT_NAME + 1];
    char type[16]; /* "ext" */
    uint64_t size_bytes;
    uint64_t free_bytes;
    struct json_array vdis; /* struct inventory_vdi */
};
struct inventory_disk {
    char device[32];
    char vdi[UUID_SIZE]; /* "" is not possible: a disk outside every SR is reported with
                            is_movable false and the nil UUID */
    enum image_format format;
    uint64_t size_bytes;
    bool is_movable;
    char why_not[160]; /* is_movable false: the reason */
};
struct inventory_vif {
    char mac[18];
    char network[LIMIT_NAME + 1]; /* by the host's network names; "" when the bridge is none's */
};
struct inventory_domain {
    char uuid[UUID_SIZE];
    char name[LIMIT_NAME + 1];
    enum domain_state state;
    uint64_t memory_bytes;
    int vcpus;
    char type[8]; /* one of inventory_guest_type; "" = the agent does not tell */
    char features[LIMIT_FEATURES + 1]; /* what its CPU was told; "" as there */
    char why_not[160];                 /* why it cannot be moved at all; "" = it can */
    struct json_array disks;           /* struct inventory_disk */
    struct json_array vifs;            /* struct inventory_vif */
};
struct inventory {
    char hypervisor[16];  /* "qemu", "libxl" */
    char accelerator[16]; /* "kvm", "tcg", "xen" */
    char version[64];     /* of the hypervisor */
    char cpu_vendor[32];
    char cpu_model[128];
    int cpus;
    uint64_t memory_bytes;
    uint64_t memory_free_bytes; /* what a new domain can have */
    char link_address[64];
    int link_port;
    struct json_array links;       /* struct inventory_link: further ones */
    struct json_array guest_types; /* struct inventory_guest_type; none = the agent does not tell */
    struct json_array networks;    /* struct inventory_network */
    struct json_array srs;         /* struct inventory_sr */
    struct json_array domains; /* struct inventory_domain; only domains this host owns: one that is
                                  being received, or was released, is not among them */
};
extern const struct json_field inventory_fields[];
