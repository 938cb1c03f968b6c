/* restore: everything that can be known to fail is looked at before libxl builds anything; see
 * xen_restore.h. */
#include "agent/hypervisor/libxl/xen_restore.h"

#include "agent/hypervisor/libxl/xen_adopt.h"
#include "agent/hypervisor/libxl/xen_cpu.h"
#include "agent/hypervisor/libxl/xen_envelope.h"
#include "agent/hypervisor/libxl/xen_header.h"
#include "agent/hypervisor/libxl/xen_hold.h"
#include "agent/hypervisor/libxl/xen_mark.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/memory.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

bool xen_restore_config(struct hypervisor *hv, const char *uuid, char **text, struct error *err)
{
    struct xen_domain domain;
    auto_envelope struct xen_envelope envelope = {.version_major = hv->version_major,
                                                  .version_minor = hv->version_minor};
    if (!xen_domain_find(hv, uuid, &domain, err) ||
        !xen_domain_live_config(hv, domain.id, &envelope.config, err) ||
        !xen_cpu_of_domain(hv, domain.id, &envelope.features, err))
        return false;
    envelope.autostart = xen_adopt_collect(uuid, envelope.config);
    *text = xen_envelope_encode(&envelope);
    return *text ||
           error_set(err, ERROR_INTERNAL, "the configuration of domain %s is no JSON", uuid);
}

/* -- checks */

static bool check_version(const struct hypervisor *hv, const struct xen_envelope *envelope,
                          struct error *err)
{
    bool is_newer = envelope->version_major > hv->version_major ||
                    (envelope->version_major == hv->version_major &&
                     envelope->version_minor > hv->version_minor);
    return !is_newer ||
           error_set(err, ERROR_UNSUPPORTED, "the domain comes from Xen %d.%d, this host has %s",
                     envelope->version_major, envelope->version_minor, hv->version);
}

static bool check_cpu(const struct cpu_features *domain, const struct cpu_features *host,
                      struct error *err)
{
    char names[160];
    return cpu_features_missing(domain, host, names, sizeof names) == 0 ||
           error_set(err, ERROR_UNSUPPORTED,
                     "this host's CPU lacks what the domain was told it has: %s", names);
}

static bool check_map(const struct restore_map *map, struct error *err)
{
    for (size_t i = 0; i < map->disk_count; i++)
        if (access(map->disks[i].path, R_OK | W_OK) < 0)
            return error_set_errno(err, ERROR_NOT_FOUND, errno, "image %s of disk %s",
                                   map->disks[i].path, map->disks[i].device);
    for (size_t i = 0; i < map->vif_count; i++) {
        auto_free char *path = memory_format("/sys/class/net/%s", map->vifs[i].bridge);
        if (access(path, F_OK) < 0)
            return error_set(err, ERROR_NOT_FOUND, "VIF %s: no bridge %s on this host",
                             map->vifs[i].mac, map->vifs[i].bridge);
    }
    return true;
}

static bool check_absent(struct hypervisor *hv, const char *uuid, struct error *err)
{
    struct xen_domain domain;
    struct error why;
    if (xen_domain_find(hv, uuid, &domain, &why))
        return error_set(err, ERROR_CONFLICT, "domain %s is on this host already", uuid);
    if (why.code != ERROR_NOT_FOUND)
        *err = why;
    return why.code == ERROR_NOT_FOUND;
}

static bool check(struct hypervisor *hv, const char *uuid, const struct xen_envelope *envelope,
                  const struct restore_map *map, struct error *err)
{
    auto_xen_config struct xen_config config = {0};
    struct cpu_features host;
    if (!xen_config_parse(envelope->config, &config, err))
        return false;
    if (strcmp(config.uuid, uuid) != 0)
        return error_set(err, ERROR_INVALID, "the configuration is of domain %s", config.uuid);
    return check_version(hv, envelope, err) && check_absent(hv, uuid, err) &&
           xen_cpu_of_host(hv, config.type, &host, err) &&
           check_cpu(&envelope->features, &host, err) && check_map(map, err);
}

/* The guest runs without them, until it reboots. */
static void warn_of_missing_files(const char *uuid, const char *config)
{
    static const char *const members[] = {"kernel", "ramdisk"};
    json_auto_t *root = json_loads(config, 0, NULL);
    const json_t *built = json_object_get(root, "b_info");
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        const char *path = json_string_value(json_object_get(built, members[i]));
        if (path && *path && access(path, R_OK) < 0)
            log_warning("domain %s: its %s %s is not on this host: a guest that reboots here "
                        "cannot be started again",
                        uuid, members[i], path);
    }
}

/* -- building */

static bool create(struct xen_context *context, libxl_domain_config *config, int fd,
                   struct error *err)
{
    enum { STREAM_VERSION = 2 }; /* what libxl_domain_suspend writes since Xen 4.6 */
    uint32_t id = 0;
    libxl_domain_restore_params params;
    libxl_domain_restore_params_init(&params);
    params.stream_version = STREAM_VERSION;
    int rc = libxl_domain_create_restore(context->ctx, config, &id, fd, -1, &params, NULL, NULL);
    libxl_domain_restore_params_dispose(&params);
    return !rc || xen_failed(rc, err, "libxl's restore");
}

static bool build(const char *text, int fd, struct error *err)
{
    auto_xen_context struct xen_context context = {0};
    libxl_domain_config config;
    if (!xen_context_open(&context, err))
        return false;
    libxl_domain_config_init(&config);
    xen_begin();
    int rc = libxl_domain_config_from_json(context.ctx, &config, text);
    bool is_built = !rc ? create(&context, &config, fd, err)
                        : xen_failed(rc, err, "the domain's configuration");
    libxl_domain_config_dispose(&config);
    return is_built;
}

/* From its first moment on the domain is one whose end the guard looks after: no daemon of xl does
 * so here. */
static bool check_built(struct hypervisor *hv, const char *uuid, struct error *err)
{
    struct xen_domain domain;
    if (!xen_domain_find(hv, uuid, &domain, err))
        return false;
    if (!domain.is_paused)
        return error_set(err, ERROR_INTERNAL, "the restored domain is not paused");
    return xen_mark_set(&domain, XEN_MARK_GUARDED, err);
}

bool xen_restore(struct hypervisor *hv, const char *uuid, const char *config,
                 const struct restore_map *map, int fd, struct error *err)
{
    auto_envelope struct xen_envelope envelope = {0};
    auto_free char *mapped = NULL;
    struct error second;
    if (!xen_envelope_decode(config, &envelope, err) || !check(hv, uuid, &envelope, map, err) ||
        !xen_config_map(envelope.config, map, &mapped, err) || !xen_hold_forget(hv, uuid, err) ||
        !xen_adopt_forget(hv, uuid, err))
        return error_prefix(err, "restoring domain %s", uuid);
    warn_of_missing_files(uuid, mapped);
    if (envelope.autostart)
        xen_adopt_prepare(hv, uuid, envelope.autostart, mapped);
    if (xen_header_await(fd, err) && build(mapped, fd, err) && check_built(hv, uuid, err))
        return true;
    if (!xen_domain_destroy(hv, uuid, &second) || !xen_adopt_forget(hv, uuid, &second))
        log_error("%s", second.text);
    return error_prefix(err, "restoring domain %s", uuid);
}
