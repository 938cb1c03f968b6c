/* The acts of one start, each after its record; see xen_start.h. */
#include "agent/hypervisor/libxl/xen_start.h"

#include "agent/hypervisor/libxl/xen_mark.h"
#include "base/cleanup.h"
#include "base/failpoint.h"
#include "base/log.h"

#include <libxl_uuid.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

/* Only domains that live: one that is dying has let go of its name and its UUID. */
static bool find_id(struct hypervisor *hv, int id, bool *is_there, struct xen_domain *out,
                    struct error *err)
{
    auto_free struct xen_domain *domains = NULL;
    size_t count;
    if (!xen_domain_list(hv, &domains, &count, err))
        return false;
    *is_there = false;
    for (size_t i = 0; i < count && !*is_there; i++) {
        *is_there = domains[i].id == (uint32_t)id;
        if (*is_there)
            *out = domains[i];
    }
    return true;
}

bool xen_start_destroy(struct hypervisor *hv, uint32_t id, struct error *err)
{
    xen_begin();
    int rc = libxl_domain_destroy(hv->main.ctx, id, NULL);
    return !rc || rc == ERROR_DOMAIN_NOTFOUND ||
           xen_failed(rc, err, "destroying domain number %u", id);
}

static bool rename_old(struct hypervisor *hv, uint32_t id, const char *text, struct error *err)
{
    libxl_domain_config config;
    libxl_uuid uuid;
    char suffix[32];
    struct tm parts;
    time_t now = time(NULL);
    strftime(suffix, sizeof suffix, "-%Y%m%dT%H%M%SZ", gmtime_r(&now, &parts));
    libxl_uuid_generate(&uuid);
    libxl_domain_config_init(&config);
    xen_begin();
    int rc = libxl_domain_config_from_json(hv->main.ctx, &config, text);
    if (!rc)
        rc = libxl_domain_preserve(hv->main.ctx, id, &config.c_info, suffix, uuid);
    libxl_domain_config_dispose(&config);
    return !rc || xen_failed(rc, err, "renaming domain number %u", id);
}

static bool create(const char *text, struct error *err)
{
    auto_xen_context struct xen_context context = {0};
    libxl_domain_config config;
    uint32_t id = 0;
    if (!xen_context_open(&context, err))
        return false;
    libxl_domain_config_init(&config);
    xen_begin();
    int rc = libxl_domain_config_from_json(context.ctx, &config, text);
    if (!rc)
        rc = libxl_domain_create_new(context.ctx, &config, &id, NULL, NULL);
    libxl_domain_config_dispose(&config);
    return !rc || xen_failed(rc, err, "libxl's create");
}

/* *is_over: the old domain runs after all, so that there is nothing to restart. */
static bool clear_away(struct hypervisor *hv, const struct xen_restart *restart, bool *is_over,
                       struct error *err)
{
    struct xen_domain old;
    bool is_there;
    if (!find_id(hv, restart->old_id, &is_there, &old, err))
        return false;
    if (!is_there || strcmp(old.uuid, restart->uuid) != 0)
        return true;
    *is_over = old.ending == XEN_GOES_ON;
    if (*is_over)
        return true;
    return restart->keeps_old ? rename_old(hv, old.id, restart->config, err)
                              : xen_start_destroy(hv, old.id, err);
}

static bool is_taken(const struct xen_domain *domains, size_t count, int id)
{
    for (size_t i = 0; i < count; i++)
        if (domains[i].id == (uint32_t)id)
            return true;
    return false;
}

static int random_id(void)
{
    uint32_t number;
    while (getrandom(&number, sizeof number, 0) != (ssize_t)sizeof number)
        ;
    return 1 + (int)(number % XEN_ID_LAST);
}

/* Another one each time: libxl refuses a number that was given back only lately. */
static bool choose_id(struct hypervisor *hv, struct xen_restart *restart, struct error *err)
{
    auto_free struct xen_domain *domains = NULL;
    size_t count;
    int id = restart->new_id ? restart->new_id : restart->old_id;
    if (id == 0) /* after none: those just above the living ones may have been given back */
        id = random_id();
    if (!xen_domain_list(hv, &domains, &count, err))
        return false;
    do
        id = id < XEN_ID_LAST ? id + 1 : 1;
    while (is_taken(domains, count, id));
    restart->new_id = id;
    return true;
}

static bool build(struct hypervisor *hv, struct xen_restart *restart, struct error *err)
{
    struct xen_domain domain;
    auto_free char *config = NULL;
    restart->is_built = false;
    if (!choose_id(hv, restart, err) || !xen_restart_config(restart, &config, err) ||
        !xen_restart_write(hv->restarts, restart, err) || !create(config, err) ||
        !failpoint("guard.created", err) || !xen_domain_find(hv, restart->uuid, &domain, err) ||
        !xen_mark_set(&domain, XEN_MARK_GUARDED, err))
        return false;
    restart->is_built = true;
    return xen_restart_write(hv->restarts, restart, err);
}

static bool start(struct hypervisor *hv, const struct xen_restart *restart, struct error *err)
{
    struct xen_domain domain;
    if (!xen_domain_look(hv, (uint32_t)restart->new_id, &domain, err))
        return false;
    xen_begin();
    int rc = domain.is_paused ? libxl_domain_unpause(hv->main.ctx, domain.id, NULL) : 0;
    if (rc)
        return xen_failed(rc, err, "unpausing it");
    if (restart->old_id)
        log_info("domain %s: its guest was started again, as domain number %u instead of %d",
                 restart->uuid, domain.id, restart->old_id);
    else
        log_info("domain %s was started, as domain number %u", restart->uuid, domain.id);
    return true;
}

/* Who else started the guest has it. What an agent that died left half-built was never unpaused, so
 * a domain that runs is not that, whatever its number. */
static bool make_new(struct hypervisor *hv, struct xen_restart *restart, struct error *err)
{
    struct xen_domain now;
    bool is_there = xen_domain_find(hv, restart->uuid, &now, err);
    if (!is_there && err->code != ERROR_NOT_FOUND)
        return false;
    bool is_ours =
        is_there && now.id == (uint32_t)restart->new_id && (restart->is_built || now.is_paused);
    if (is_there && !is_ours) {
        log_warning("domain %s: its guest was started by somebody else", restart->uuid);
        return true;
    }
    if (!is_there && restart->is_built) {
        /* It may have run and be at another host now: a second one must never begin. */
        log_warning("domain %s: its guest was started, and its domain is gone since",
                    restart->uuid);
        return true;
    }
    if (is_there && !restart->is_built && !xen_start_destroy(hv, now.id, err))
        return false;
    return ((is_there && restart->is_built) || build(hv, restart, err)) && start(hv, restart, err);
}

/* After a reboot of the host its domains are gone like any others. */
bool xen_start_finish(struct hypervisor *hv, struct xen_restart *restart, struct error *err)
{
    bool is_over = strcmp(restart->boot, hv->boot) != 0;
    if (!is_over && (!failpoint("guard.recorded", err) || !clear_away(hv, restart, &is_over, err)))
        return false;
    if (!is_over && (!failpoint("guard.cleared", err) || !make_new(hv, restart, err)))
        return false;
    return failpoint("guard.started", err) && xen_restart_remove(hv->restarts, restart->uuid, err);
}
