/* The driver's table, its beginning and end, and the operations that are short. */
#include "agent/hypervisor/libxl/xen.h"

#include "agent/hypervisor/libxl/xen_adopt.h"
#include "agent/hypervisor/libxl/xen_boot.h"
#include "agent/hypervisor/libxl/xen_context.h"
#include "agent/hypervisor/libxl/xen_domain.h"
#include "agent/hypervisor/libxl/xen_hold.h"
#include "agent/hypervisor/libxl/xen_inventory.h"
#include "agent/hypervisor/libxl/xen_restore.h"
#include "agent/hypervisor/libxl/xen_run.h"
#include "agent/hypervisor/libxl/xen_save.h"
#include "agent/hypervisor/libxl/xen_types.h"
#include "agent/hypervisor/libxl/xen_watch.h"
#include "base/json_table.h"
#include "base/log.h"
#include "base/memory.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct options {
    char *run_directory;
    char *state_directory;
    uint64_t memory_bytes; /* for all domains together; 0: what the host has */
};
static const struct json_field options_fields[] = {
    JSON_TEXT("run_directory", options, run_directory, 1, LIMIT_PATH, true),
    JSON_TEXT("state_directory", options, state_directory, 1, LIMIT_PATH, false),
    JSON_BYTES("memory_bytes", options, memory_bytes, false),
    {0},
};

/* What libxl would say in ways that need its source to be understood. */
static bool check_host(struct error *err)
{
    static const char device[] = "/dev/xen/privcmd";
    if (access(device, R_OK | W_OK) == 0)
        return true;
    if (errno == ENOENT)
        return error_set(err, ERROR_UNSUPPORTED,
                         "no %s: this is not the control domain of a Xen host", device);
    return error_set_errno(err, ERROR_REFUSED, errno, "%s, the agent must run as root", device);
}

/* The control interface is that of one Xen version; a driver for another one would be refused call
 * by call. */
static bool read_version(struct hypervisor *hv, struct error *err)
{
    int major = 0, minor = 0;
    xen_begin();
    const libxl_version_info *info = libxl_get_version_info(hv->main.ctx);
    if (!info)
        return xen_failed(ERROR_FAIL, err, "the version of Xen");
    hv->version_major = info->xen_version_major;
    hv->version_minor = info->xen_version_minor;
    hv->page_bytes = (uint64_t)info->pagesize;
    snprintf(hv->version, sizeof hv->version, "%d.%d%s", hv->version_major, hv->version_minor,
             info->xen_version_extra ? info->xen_version_extra : "");
    if (sscanf(CROSSPOOL_XEN_VERSION, "%d.%d", &major, &minor) != 2 || /* NOLINT(cert-err34-c) */
        hv->version_major != major || hv->version_minor != minor)
        return error_set(err, ERROR_UNSUPPORTED, "this host runs Xen %s, the driver is for %d.%d",
                         hv->version, major, minor);
    return true;
}

static void driver_close(struct hypervisor *hv)
{
    if (!hv)
        return;
    xen_watch_close(hv);
    xen_context_close(&hv->main);
    pthread_mutex_destroy(&hv->runs.lock);
    free(hv->run_directory);
    free(hv->restarts);
    free(hv->arrivals);
    free(hv);
}

static bool driver_open(const json_t *json, struct hypervisor **out, struct error *err)
{
    struct options options = {0};
    if (!json_decode(json, options_fields, &options, err) || !check_host(err)) {
        json_release(options_fields, &options);
        return error_prefix(err, "libxl");
    }
    signal(SIGPIPE, SIG_IGN); /* a peer that goes away is an error of the stream, not a signal */
    struct hypervisor *hv = memory_alloc(sizeof *hv);
    pthread_mutex_init(&hv->runs.lock, NULL);
    hv->run_directory = memory_copy_text(options.run_directory);
    if (options.state_directory) {
        hv->restarts = memory_format("%s/restarts", options.state_directory);
        hv->arrivals = memory_format("%s/autostart", options.state_directory);
    }
    hv->memory_limit_bytes = options.memory_bytes;
    json_release(options_fields, &options);
    if (!xen_run_read_boot(hv->boot, err) || !xen_context_open(&hv->main, err) ||
        !read_version(hv, err) || !xen_types_read(hv, err)) {
        driver_close(hv);
        return error_prefix(err, "libxl");
    }
    *out = hv;
    return true;
}

static bool driver_unpause(struct hypervisor *hv, const char *uuid, struct error *err)
{
    struct xen_domain domain;
    if (!xen_domain_find(hv, uuid, &domain, err))
        return false;
    if (!domain.is_paused)
        return true;
    xen_begin();
    int rc = libxl_domain_unpause(hv->main.ctx, domain.id, NULL);
    return !rc || xen_failed(rc, err, "unpausing domain %s", uuid);
}

static bool driver_destroy(struct hypervisor *hv, const char *uuid, struct error *err)
{
    if (!uuid_is_valid(uuid))
        return error_set(err, ERROR_INVALID, "\"%s\" is no UUID", uuid);
    return xen_domain_destroy(hv, uuid, err) && xen_hold_forget(hv, uuid, err) &&
           xen_adopt_forget(hv, uuid, err);
}

/* The guest's own netfront tells the switches where it is once its VIF is connected here. */
static bool driver_announce(struct hypervisor *hv, const char *uuid, struct error *err)
{
    (void)hv;
    (void)uuid;
    (void)err;
    return true;
}

__attribute__((visibility("default"))) const struct hypervisor_driver libxl_driver = {
    .name = "libxl",
    .open = driver_open,
    .close = driver_close,
    .facts = xen_inventory_facts,
    .list = xen_inventory_list,
    .config = xen_restore_config,
    .disk_attach = xen_inventory_attach,
    .hold = xen_hold,
    .release = xen_hold_release,
    .save = xen_save,
    .restore = xen_restore,
    .unpause = driver_unpause,
    .resume = xen_save_undo,
    .destroy = driver_destroy,
    .announce = driver_announce,
    .guest_run = xen_run_find,
    .watch = xen_watch,
    .describe = xen_boot_describe,
    .boot = xen_boot,
    .forget = xen_adopt_leave,
    .adopt = xen_adopt,
};
