/* Domains; see xen_domain.h. */
#include "agent/hypervisor/libxl/xen_domain.h"

#include "agent/hypervisor/libxl/xen_disk.h"
#include "agent/hypervisor/libxl/xen_run.h"
#include "agent/qmp/qmp.h"
#include "base/cleanup.h"
#include "base/memory.h"

#include <libxl_utils.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { CONFIG_LIMIT = 1 << 20 };

/* The state as Xen counts it: a domain without its memory yet, or blocked, is running. */
static enum domain_state state_of(const libxl_dominfo *info)
{
    if (!info->shutdown)
        return info->paused ? DOMAIN_PAUSED : DOMAIN_RUNNING;
    switch (info->shutdown_reason) {
    case LIBXL_SHUTDOWN_REASON_SUSPEND:
        return DOMAIN_PAUSED;
    case LIBXL_SHUTDOWN_REASON_CRASH:
    case LIBXL_SHUTDOWN_REASON_WATCHDOG:
        return DOMAIN_CRASHED;
    default:
        return DOMAIN_SHUTDOWN;
    }
}

static enum xen_ending ending_of(const libxl_dominfo *info)
{
    if (!info->shutdown)
        return XEN_GOES_ON;
    switch (info->shutdown_reason) {
    case LIBXL_SHUTDOWN_REASON_SUSPEND:
        return XEN_GOES_ON;
    case LIBXL_SHUTDOWN_REASON_REBOOT:
        return XEN_REBOOT;
    case LIBXL_SHUTDOWN_REASON_CRASH:
        return XEN_CRASH;
    case LIBXL_SHUTDOWN_REASON_WATCHDOG:
        return XEN_WATCHDOG;
    case LIBXL_SHUTDOWN_REASON_SOFT_RESET:
        return XEN_SOFT_RESET;
    default:
        return XEN_POWEROFF;
    }
}

static enum xen_type type_of(libxl_domain_type type)
{
    if (type == LIBXL_DOMAIN_TYPE_HVM)
        return XEN_HVM;
    return type == LIBXL_DOMAIN_TYPE_PVH ? XEN_PVH : XEN_PV;
}

static void describe(const libxl_dominfo *info, struct xen_domain *out)
{
    *out = (struct xen_domain){
        .id = info->domid,
        .type = type_of(info->domain_type),
        .is_paused = info->paused,
        .is_suspended = info->shutdown && info->shutdown_reason == LIBXL_SHUTDOWN_REASON_SUSPEND,
        .ending = ending_of(info),
        .state = state_of(info),
        .memory_bytes = info->max_memkb << 10,
    };
    snprintf(out->uuid, sizeof out->uuid, LIBXL_UUID_FMT, LIBXL_UUID_BYTES(info->uuid));
}

bool xen_domain_list(struct hypervisor *hv, struct xen_domain **out, size_t *count,
                     struct error *err)
{
    int found = 0;
    xen_begin();
    libxl_dominfo *infos = libxl_list_domain(hv->main.ctx, &found);
    if (!infos)
        return xen_failed(ERROR_FAIL, err, "listing the domains");
    struct xen_domain *domains = memory_array((size_t)found + 1, sizeof *domains);
    size_t kept = 0;
    for (int i = 0; i < found; i++) {
        if (infos[i].domid == 0)
            continue;
        describe(&infos[i], &domains[kept]);
        xen_run_note(hv, &domains[kept]);
        kept += !infos[i].dying;
    }
    libxl_dominfo_list_free(infos, found);
    *out = domains;
    *count = kept;
    return true;
}

bool xen_domain_find(struct hypervisor *hv, const char *uuid, struct xen_domain *out,
                     struct error *err)
{
    auto_free struct xen_domain *domains = NULL;
    size_t count;
    if (!uuid_is_valid(uuid))
        return error_set(err, ERROR_INVALID, "\"%s\" is no UUID", uuid);
    if (!xen_domain_list(hv, &domains, &count, err))
        return false;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(domains[i].uuid, uuid) != 0)
            continue;
        *out = domains[i];
        return true;
    }
    return error_set(err, ERROR_NOT_FOUND, "no domain %s on this host", uuid);
}

bool xen_domain_look(struct hypervisor *hv, uint32_t id, struct xen_domain *out, struct error *err)
{
    libxl_dominfo info;
    libxl_dominfo_init(&info);
    xen_begin();
    int rc = libxl_domain_info(hv->main.ctx, &info, id);
    if (!rc)
        describe(&info, out);
    libxl_dominfo_dispose(&info);
    return !rc || xen_failed(rc, err, "state of domain number %u", id);
}

bool xen_domain_stored_config(struct hypervisor *hv, uint32_t id, char **text, struct error *err)
{
    uint8_t *data = NULL;
    int size = 0;
    xen_begin();
    int rc = libxl_userdata_retrieve(hv->main.ctx, id, "libxl-json", &data, &size);
    auto_free char *owned = (char *)data;
    if (rc)
        return xen_failed(rc, err, "configuration of domain number %u", id);
    if (size <= 0 || size > CONFIG_LIMIT)
        return error_set(err, ERROR_NOT_FOUND, "domain number %u has no configuration", id);
    *text = memory_format("%.*s", size, owned);
    return true;
}

bool xen_domain_live_config(struct hypervisor *hv, uint32_t id, char **text, struct error *err)
{
    libxl_domain_config config;
    char *found = NULL;
    libxl_domain_config_init(&config);
    xen_begin();
    int rc = libxl_retrieve_domain_configuration(hv->main.ctx, id, &config, NULL);
    if (!rc)
        found = libxl_domain_config_to_json(hv->main.ctx, &config);
    libxl_domain_config_dispose(&config);
    if (!found)
        return xen_failed(rc, err, "configuration of domain number %u", id);
    *text = found;
    return true;
}

bool xen_domain_has_qemu(uint32_t id)
{
    char path[XEN_SOCKET_SIZE];
    xen_disk_libxl_socket(id, path);
    return access(path, F_OK) == 0;
}

bool xen_domain_has_lost_qemu(uint32_t id)
{
    char path[XEN_SOCKET_SIZE];
    xen_disk_libxl_socket(id, path);
    return access(path, F_OK) == 0 && qmp_has_ended(path);
}

bool xen_domain_tell_qemu(struct hypervisor *hv, uint32_t id, const char *command,
                          struct error *err)
{
    auto_free char *answer = NULL;
    xen_begin();
    int rc = libxl_qemu_monitor_command(hv->main.ctx, id, command, &answer, NULL);
    if (rc)
        return xen_failed(rc, err, "QEMU of domain number %u, %s", id, command);
    if (answer && *answer)
        return error_set(err, ERROR_INTERNAL, "QEMU of domain number %u, %s: %.*s", id, command,
                         (int)strcspn(answer, "\r\n"), answer);
    return true;
}

bool xen_domain_destroy(struct hypervisor *hv, const char *uuid, struct error *err)
{
    struct xen_domain domain;
    struct error why;
    while (xen_domain_find(hv, uuid, &domain, &why)) {
        xen_begin();
        int rc = libxl_domain_destroy(hv->main.ctx, domain.id, NULL);
        if (rc && rc != ERROR_DOMAIN_NOTFOUND)
            return xen_failed(rc, err, "destroying domain %s", uuid);
    }
    if (why.code != ERROR_NOT_FOUND)
        *err = why;
    return why.code == ERROR_NOT_FOUND;
}
