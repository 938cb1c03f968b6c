/* The first start of a domain; see xen_boot.h. It has a record like every other start. */
#include "agent/hypervisor/libxl/xen_boot.h"

#include "agent/hypervisor/libxl/xen_cfg.h"
#include "agent/hypervisor/libxl/xen_new.h"
#include "agent/hypervisor/libxl/xen_start.h"
#include "agent/process/child.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"

#include <errno.h>
#include <libxl_utils.h>
#include <stdlib.h>
#include <string.h>

enum {
    FILE_LIMIT = 1 << 20,
    XL_MS = 30000,
    XL_OUTPUT = 1 << 20,
    LOCK_WAIT_MS = 60000, /* for the agent, or another such command, that starts a guest now */
    LOCK_TICK_MS = 200,
};

/* -- the file */

/* An absolute path: one that begins with "-" would be an option. */
static bool ask_xl(const char *path, char **json, struct error *err)
{
    auto_free char *whole = realpath(path, NULL);
    if (!whole)
        return error_set_errno(err, ERROR_NOT_FOUND, errno, "%s", path);
    const char *const command[] = {"xl", "-N", "create", "-q", whole, NULL};
    return child_run(command, XL_MS, XL_OUTPUT, json, err);
}

static void tell_uuid(const char *path, const char *file, const struct xen_config *config)
{
    char value[64];
    if (!xen_cfg_value(file, "uuid", value, sizeof value))
        log_info("%s has no uuid: domain %s gets %s, another one at each start from this file",
                 path, config->name, config->uuid);
}

bool xen_boot_describe(struct hypervisor *hv, const char *path, char **text, char uuid[UUID_SIZE],
                       struct error *err)
{
    auto_xen_config struct xen_config config = {0};
    auto_free char *file = NULL;
    auto_free char *json = NULL;
    auto_free char *completed = NULL;
    (void)hv;
    if (!file_read(path, FILE_LIMIT, &file, NULL, err))
        return false;
    if (!ask_xl(path, &json, err) || !xen_new_complete(json, &completed, err) ||
        !xen_config_parse(completed, &config, err))
        return error_prefix(err, "%s", path);
    tell_uuid(path, file, &config);
    memcpy(uuid, config.uuid, UUID_SIZE);
    *text = take(completed);
    return true;
}

/* -- the start */

static bool lock_in_time(struct hypervisor *hv, struct xen_restart_lock *lock, struct error *err)
{
    int64_t deadline = clock_monotonic_ms() + LOCK_WAIT_MS;
    while (!xen_restart_lock(hv->restarts, lock, err)) {
        if (err->code != ERROR_CONFLICT || clock_monotonic_ms() >= deadline)
            return false;
        clock_sleep_ms(LOCK_TICK_MS);
    }
    return true;
}

/* A start that another process began is finished by the agent. */
static bool check_no_record(struct hypervisor *hv, const char *uuid, struct error *err)
{
    auto_xen_restart struct xen_restart restart = {0};
    if (xen_restart_read(hv->restarts, uuid, &restart, err))
        return strcmp(restart.boot, hv->boot) != 0 ||
               error_set(err, ERROR_CONFLICT,
                         "it is being started already, and the agent finishes that");
    return err->code == ERROR_NOT_FOUND;
}

static bool check_free(struct hypervisor *hv, const struct xen_config *config, struct error *err)
{
    struct xen_domain domain;
    uint32_t id;
    if (!check_no_record(hv, config->uuid, err))
        return false;
    if (xen_domain_find(hv, config->uuid, &domain, err))
        return error_set(err, ERROR_CONFLICT, "it is on this host already, as domain number %u",
                         domain.id);
    if (err->code != ERROR_NOT_FOUND)
        return false;
    if (config->name[0] && libxl_name_to_domid(hv->main.ctx, config->name, &id) == 0)
        return error_set(err, ERROR_CONFLICT, "domain number %u has its name, %.100s", id,
                         config->name);
    return true;
}

/* A domain that runs is not undone: the record says that it is whole. */
static void undo(struct hypervisor *hv, const struct xen_restart *restart)
{
    struct xen_domain domain;
    struct error err;
    bool is_there = xen_domain_find(hv, restart->uuid, &domain, &err);
    bool is_ours = is_there && domain.id == (uint32_t)restart->new_id;
    if (is_ours && !domain.is_paused)
        return;
    bool is_undone =
        is_ours ? xen_start_destroy(hv, domain.id, &err) : is_there || err.code == ERROR_NOT_FOUND;
    if (!is_undone || !xen_restart_remove(hv->restarts, restart->uuid, &err))
        log_error("domain %s: the agent will start it: %s", restart->uuid, err.text);
}

static bool check_started(struct hypervisor *hv, const struct xen_restart *restart,
                          struct error *err)
{
    struct xen_domain domain;
    return xen_domain_find(hv, restart->uuid, &domain, err) &&
           (domain.id == (uint32_t)restart->new_id ||
            error_set(err, ERROR_CONFLICT, "somebody else started it, as domain number %u",
                      domain.id));
}

static bool start(struct hypervisor *hv, const struct xen_config *config, const char *text,
                  struct error *err)
{
    struct xen_restart restart = {.memory_bytes = xen_new_memory_bytes(text),
                                  .config = (char *)text};
    memcpy(restart.uuid, config->uuid, sizeof restart.uuid);
    memcpy(restart.boot, hv->boot, sizeof restart.boot);
    if (!xen_restart_write(hv->restarts, &restart, err))
        return false;
    if (xen_start_finish(hv, &restart, err))
        return check_started(hv, &restart, err);
    undo(hv, &restart);
    return false;
}

bool xen_boot(struct hypervisor *hv, const char *text, struct error *err)
{
    auto_xen_restart_lock struct xen_restart_lock lock = XEN_RESTART_UNLOCKED;
    auto_xen_config struct xen_config config = {0};
    if (!hv->restarts)
        return error_set(err, ERROR_INVALID, "libxl: state_directory is missing");
    return xen_config_parse(text, &config, err) &&
           ((xen_new_check(text, err) && lock_in_time(hv, &lock, err) &&
             check_free(hv, &config, err) && start(hv, &config, text, err)) ||
            error_prefix(err, "starting domain %s", config.uuid));
}
