/* A domain's configuration as libxenlight writes it: what the driver reads of it, and the changes
 * for another host. Works on the JSON text, so that no Xen is needed to test it. */
#pragma once

#include "agent/hypervisor/hypervisor.h"

enum xen_type { XEN_PV, XEN_PVH, XEN_HVM };
extern const char *const xen_type_names[]; /* libxl's words, NULL-terminated */

struct xen_disk {
    char device[32]; /* libxl's vdev */
    char *path;      /* NULL: an empty drive */
    char backend[16], format[16];
    bool is_foreign; /* served by another domain than this host's control domain */
};
struct xen_vif {
    char mac[18];
    char *bridge; /* "" when libxl decides */
};
struct xen_config {
    char uuid[UUID_SIZE];
    char *name;
    enum xen_type type;
    int vcpus;
    const char *why_not; /* NULL, or why no other host can have the domain */
    size_t disk_count;
    struct xen_disk *disks;
    size_t vif_count;
    struct xen_vif *vifs;
};

/* ERROR_INVALID with the member that is missing or wrong. */
bool xen_config_parse(const char *text, struct xen_config *out, struct error *err) must_check;
void xen_config_done(struct xen_config *config);
#define auto_xen_config __attribute__((cleanup(xen_config_done)))
/* NULL when there is none of that name. */
const struct xen_disk *xen_config_disk(const struct xen_config *config, const char *device);

/* The configuration with every disk and VIF where `map` says, disks served by QEMU: only there can
 * the domain be mirrored again. Disks that are no empty drives and VIFs must all be in the map, and
 * the other way round. *out is owned by the caller. */
bool xen_config_map(const char *text, const struct restore_map *map, char **out,
                    struct error *err) must_check;
