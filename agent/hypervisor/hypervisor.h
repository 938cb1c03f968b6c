/* The small interface behind which a hypervisor stands. `qemu` runs plain QEMU guests, `libxl` Xen.
 * Every operation may be called from any thread and may block; two operations on one domain are
 * never called at once by the agent, except `list`, `facts` and `disk_attach`. */
#pragma once

#include "base/error.h"
#include "base/json.h"
#include "protocol/inventory.h"
#include "protocol/progress.h"

struct hypervisor;

/* A domain as the hypervisor knows it. Text members are owned; see domain_list_done. */
struct domain_disk {
    char device[32];
    char *path; /* file or block device that holds the image */
    enum image_format format;
    uint64_t size_bytes; /* virtual */
    char why_not[160];   /* why its writes cannot be mirrored (blkback); "" = they can */
};
struct domain_vif {
    char mac[18];
    char *bridge;
};
struct domain {
    char uuid[UUID_SIZE];
    char *name;
    enum domain_state state;
    uint64_t memory_bytes;
    int vcpus;
    char type[8];                      /* one of host_facts.guest_types */
    char features[LIMIT_FEATURES + 1]; /* what its CPU was told, protocol/cpu_features.h; or "" */
    char why_not[160];                 /* why it cannot be moved at all; "" = it can */
    size_t disk_count;
    struct domain_disk *disks;
    size_t vif_count;
    struct domain_vif *vifs;
};
struct domain_list {
    size_t count;
    struct domain *items;
};
void domain_list_done(struct domain_list *list);

struct host_facts {
    char accelerator[16];
    char version[64];
    char cpu_vendor[32];
    char cpu_model[128];
    int cpus;
    uint64_t memory_bytes;
    uint64_t memory_free_bytes;
    size_t guest_type_count;
    struct inventory_guest_type guest_types[LIMIT_GUEST_TYPES];
};

/* How the block layer reaches a running domain's disk. */
enum disk_reader {
    READER_FILE,       /* raw: read the file or device itself */
    READER_QEMU_NBD,   /* qcow2, VHD: a second process opened during the stop in which the mirror
                          starts */
    READER_NBD_SOCKET, /* another process already serves the live image on `reader_path` */
};
struct disk_attach {
    char qmp_path[256]; /* monitor for the block layer, not the driver's own */
    char node[64];      /* the node to mirror */
    enum disk_reader reader;
    char reader_path[LIMIT_PATH + 1]; /* the file or device, or the NBD socket */
    enum image_format format;
    uint64_t size_bytes;
};

/* Calls out of `save`. */
struct save_hooks {
    void *context;
    /* The domain is suspended for good and cannot be resumed by itself; no vCPU runs, its devices
     * are drained. Ends the mirrors. False makes save fail and leaves the domain suspended, to be
     * resumed with `resume`. Called exactly once before save succeeds. */
    bool (*on_suspended)(void *context, struct error *err);
    /* Numbers for the progress; any thread. */
    void (*on_progress)(void *context, const struct memory_progress *progress);
    /* Polled between passes; true stops before the suspension with ERROR_CANCELLED. */
    bool (*is_cancelled)(void *context);
};

/* Where the domain's disks and VIFs are at this host. */
struct restore_disk {
    char device[32];
    char path[LIMIT_PATH + 1];
    enum image_format format;
};
struct restore_vif {
    char mac[18];
    char bridge[LIMIT_NAME + 1];
};
struct restore_map {
    size_t disk_count;
    const struct restore_disk *disks;
    size_t vif_count;
    const struct restore_vif *vifs;
};

/* One run of a guest, from its start in a domain to its end there. A guest that is started again
 * after a reboot is in another run, also when the UUID is the same. */
enum guest_end {
    GUEST_RUNS, /* or is paused, or suspended */
    GUEST_POWERED_OFF,
    GUEST_REBOOTED,
    GUEST_CRASHED,
    GUEST_GONE, /* not here any more, and nobody saw why */
};
struct guest_run {
    char id[48]; /* unlike that of any other run on this host */
    enum guest_end end;
};

/* Calls out of `watch`, from threads of the driver. They must not call the driver nor wait long. */
struct domain_watch {
    void *context;
    /* A domain has come, gone or shut down, or something may have been missed. */
    void (*on_change)(void *context);
    /* No migration needs the domain as it is: its guest, which has ended, may be started again. */
    bool (*may_restart)(void *context, const char *uuid);
};

struct hypervisor_driver {
    const char *name;
    /* `options` is the agent's config object for this driver. One clear error when the hypervisor
     * is missing, of a wrong version or not permitted. */
    bool (*open)(const json_t *options, struct hypervisor **out, struct error *err);
    void (*close)(struct hypervisor *hv);
    bool (*facts)(struct hypervisor *hv, struct host_facts *out, struct error *err);
    bool (*list)(struct hypervisor *hv, struct domain_list *out, struct error *err);
    /* The domain's configuration, opaque JSON text that `restore` of the same driver understands.
     */
    bool (*config)(struct hypervisor *hv, const char *uuid, char **text, struct error *err);
    bool (*disk_attach)(struct hypervisor *hv, const char *uuid, const char *device,
                        struct disk_attach *out, struct error *err);
    /* Between hold and release no vCPU runs, on top of the QMP stop and cont that the block layer
     * does itself. Nothing to do where QMP stop stops the guest (qemu). */
    bool (*hold)(struct hypervisor *hv, const char *uuid, struct error *err);
    bool (*release)(struct hypervisor *hv, const char *uuid, struct error *err);
    /* Streams the domain to fd (a pipe), suspends it, ends the stream. `is_live`: memory is sent
     * before the suspension and what changed meanwhile after it; else all of it after it. On
     * success the domain stays suspended here, its block layer stopped and flushed. On failure
     * before the suspension it runs on; after it, it is suspended: *is_suspended says which. */
    bool (*save)(struct hypervisor *hv, const char *uuid, bool is_live, int fd,
                 const struct save_hooks *hooks, bool *is_suspended, struct error *err);
    /* Builds the domain from the stream, paused, on the mapped disks and bridges. On failure
     * nothing of it remains. */
    bool (*restore)(struct hypervisor *hv, const char *uuid, const char *config,
                    const struct restore_map *map, int fd, struct error *err);
    /* All four are safe to repeat. */
    bool (*unpause)(struct hypervisor *hv, const char *uuid, struct error *err);
    bool (*resume)(struct hypervisor *hv, const char *uuid, struct error *err); /* after save */
    bool (*destroy)(struct hypervisor *hv, const char *uuid,
                    struct error *err); /* absent is fine */
    bool (*announce)(struct hypervisor *hv, const char *uuid,
                     struct error *err); /* MACs to switches */

    /* The domain that a file describes, as text for `boot`, and its UUID. Text is the caller's. */
    bool (*describe)(struct hypervisor *hv, const char *path, char **text, char uuid[UUID_SIZE],
                     struct error *err);
    /* Starts it. ERROR_CONFLICT when it lives here already. On failure nothing of it remains. */
    bool (*boot)(struct hypervisor *hv, const char *text, struct error *err);

    /* What is below is optional (NULL). */

    /* The run `id` of the domain's guest and how it ended, if it did; with "" the present one,
     * ERROR_NOT_FOUND when the domain is not here. */
    bool (*guest_run)(struct hypervisor *hv, const char *uuid, const char *id,
                      struct guest_run *out, struct error *err);
    /* Watches the domains, and where the driver is in charge of what a guest's end means, acts on
     * it. NULL ends that: afterwards nothing is called any more. */
    bool (*watch)(struct hypervisor *hv, const struct domain_watch *watch, struct error *err);
    /* The domain is another host's for good: nothing shall start it here at the next boot. Tries,
     * and logs what it cannot do. */
    void (*forget)(struct hypervisor *hv, const char *uuid, const char *name);
    /* The domain, which came by `restore`, is this host's for good: what started it at its source's
     * boot does so here. Tries, and logs what it cannot do. Safe to repeat. */
    void (*adopt)(struct hypervisor *hv, const char *uuid);
};

extern const struct hypervisor_driver qemu_driver;

/* NULL when no driver has that name. */
const struct hypervisor_driver *hypervisor_driver_find(const char *name);
