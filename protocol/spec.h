/* What one migration is, fixed when it is created and sent with each of its steps, so that a step
 * needs nothing else and any agent restart can begin from its journal alone. */
#pragma once

#include "base/json.h"
#include "base/traceparent.h"
#include "protocol/vocabulary.h"

/* One end of the migration. */
struct spec_host {
    char id[UUID_SIZE]; /* the host its certificate must name */
    char address[64];   /* link address on the migration network, IPv4 or IPv6 text */
    int port;
};

struct spec_vdi {
    char sr[UUID_SIZE];
    char vdi[UUID_SIZE];
    enum image_format format;
};

struct spec_disk {
    char device[32];     /* the domain's name of it: vda, xvda */
    uint64_t size_bytes; /* virtual size, the same at both ends */
    struct spec_vdi source;
    struct spec_vdi destination; /* its VDI id is chosen by the coordinator */
};

struct spec_vif {
    char mac[18];
    char source_network[LIMIT_NAME + 1];
    char
        destination_network[LIMIT_NAME + 1]; /* name at the destination host; it knows the bridge */
};

struct migration_spec {
    char migration[UUID_SIZE];
    char domain[UUID_SIZE];    /* the domain's own UUID, the same at both ends */
    char name[LIMIT_NAME + 1]; /* the VM's name */
    uint64_t memory_bytes;
    enum migration_mode mode;
    struct spec_host source;
    struct spec_host destination;
    struct json_array disks;            /* struct spec_disk */
    struct json_array vifs;             /* struct spec_vif */
    uint64_t bandwidth_bytes_per_s;     /* cap of the copy; 0 = none */
    int stall_limit_ms;                 /* longest time a guest write may wait for the mirror */
    int parallel_disks;                 /* disks copied at once */
    bool has_traceparent;               /* sent only to an agent that understands it */
    char traceparent[TRACEPARENT_SIZE]; /* of the request that created it; "" = none */
};

extern const struct json_field migration_spec_fields[];

static inline struct spec_disk *spec_disk_at(const struct migration_spec *spec, size_t i)
{
    return (struct spec_disk *)spec->disks.items + i;
}
static inline struct spec_vif *spec_vif_at(const struct migration_spec *spec, size_t i)
{
    return (struct spec_vif *)spec->vifs.items + i;
}
