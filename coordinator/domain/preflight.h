/* Can this VM move there? A pure function over what the inventory says: it finds every blocker at
 * once, chooses the host when only the pool was named, and says where each disk and VIF goes. */
#pragma once

#include "coordinator/domain/blocker.h"
#include "coordinator/domain/mapping.h"
#include "coordinator/domain/prediction.h"
#include "protocol/inventory.h"
#include "protocol/spec.h"

struct preflight_sr {
    char id[UUID_SIZE];
    char name[LIMIT_NAME + 1];
    uint64_t size_bytes;
    uint64_t free_bytes;
    uint64_t reserved_bytes; /* of the free ones: what other migrations will still take */
};
struct preflight_network {
    char id[UUID_SIZE]; /* "" = its host does not report it */
    char name[LIMIT_NAME + 1];
    char why_not[161]; /* why no VIF can be put on it; "" = it can */
    int vlan;          /* 0 = none */
};
struct preflight_host {
    char id[UUID_SIZE];
    char name[LIMIT_NAME + 1];
    bool is_enabled;
    bool in_maintenance;
    bool is_pool_in_maintenance;
    bool is_lost;
    bool is_not_clean;    /* it has still to clean up an earlier migration of this domain */
    bool has_domain;      /* another VM with the same domain UUID is on it or in its pool */
    char hypervisor[17];  /* "" = it has not reported yet */
    char accelerator[17]; /* guests under "tcg" do not see the host's CPU */
    char version[65];     /* of the hypervisor */
    char cpu_vendor[33];
    struct inventory_guest_type *guest_types; /* none = its agent does not tell */
    size_t guest_type_count;
    char link_address[64]; /* "" = unknown */
    int link_port;
    int cpus;                     /* 0 = its agent has not told */
    int vcpus_used;               /* by its VMs and by other migrations to it */
    struct preflight_rates rates; /* measured by earlier moves from the VM's host to it */
    uint64_t memory_free_bytes;
    uint64_t memory_reserved_bytes; /* by other migrations to this host */
    struct preflight_sr *srs;
    size_t sr_count;
    struct preflight_network *networks;
    size_t network_count;
};
struct preflight_disk {
    char device[32];
    char vdi[UUID_SIZE];
    char sr[UUID_SIZE]; /* "" = on no SR of its host */
    char sr_name[LIMIT_NAME + 1];
    enum image_format format;
    uint64_t size_bytes;
    uint64_t allocated_bytes;
    bool is_movable;
    char why_not[161];
};
struct preflight_vif {
    char mac[18];
    char network[LIMIT_NAME + 1]; /* "" = on a bridge that is no network of its host */
    char network_id[UUID_SIZE];
    int vlan;
};
struct preflight_input {
    bool vm_exists;
    char vm[UUID_SIZE]; /* the VM object */
    char domain[UUID_SIZE];
    char vm_name[LIMIT_NAME + 1];
    enum domain_state state;
    uint64_t memory_bytes;
    int vcpus;
    char type[9]; /* of inventory_guest_type; "" = its agent does not tell */
    char features[LIMIT_FEATURES + 1];
    char why_not[161];                /* why it cannot be moved at all; "" = it can */
    char active_migration[UUID_SIZE]; /* "" = none */
    struct preflight_disk *disks;
    size_t disk_count;
    struct preflight_vif *vifs;
    size_t vif_count;
    struct preflight_host source;
    char pool_name[LIMIT_NAME + 1]; /* destination */
    bool is_host_named;             /* then `hosts` is this one host */
    struct preflight_host *hosts;   /* of the destination pool */
    size_t host_count;
    enum migration_mode mode;
    uint64_t bandwidth_bytes_per_s; /* cap of the copy; 0 = none */
    char network[LIMIT_NAME + 1];   /* transfer network; "" = each host's own link */
    struct mapping mapping;         /* the effective one */
    /* The request's own map: its disks and VIFs must be the VM's. Those of a set need not be. */
    struct mapping request;
};
/* Frees everything that the input points to. */
void preflight_input_done(struct preflight_input *input);

struct preflight_result {
    struct blocker *blockers;
    size_t count;
    struct blocker_list warnings; /* about the chosen host; they keep nothing from moving */
    struct prediction prediction;
    const struct preflight_host *host; /* chosen one, in the input; NULL when there is none */
    /* With no blockers: one for each disk and VIF of the input, in order. */
    struct spec_disk *disks; /* destination.vdi is left empty */
    struct spec_vif *vifs;
    uint64_t disk_bytes;      /* virtual sizes: what the copy covers */
    uint64_t allocated_bytes; /* what the source has allocated of them: about what is sent */
};
void preflight_check(const struct preflight_input *input, struct preflight_result *result);
void preflight_result_done(struct preflight_result *result);
/* Waiting alone may remove all of the blockers (a host that is away for a moment, or cleans up). */
bool preflight_may_wait(const struct preflight_result *result);

/* Bytes that a disk of this virtual size and format may take on an SR: all of it, and for qcow2 and
 * VHD their tables (qcow2: 8 bytes of L2 and 2 of refcount a 64 KiB cluster; VHD: a 512-byte bitmap
 * and 4 bytes of BAT a 2 MiB block; both below 1/4096 and one MiB). */
uint64_t preflight_room(enum image_format format, uint64_t size_bytes);
