/* What the guard finds and does; see xen_guard.h. */
#include "agent/hypervisor/libxl/xen_guard.h"

#include "agent/hypervisor/libxl/xen_mark.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"

#include <libxl_uuid.h>
#include <string.h>
#include <time.h>

enum {
    IDLE_MS = 30000, /* events wake it: only for those that were missed */
    PENDING_MS = 200,
    RETRY_FIRST_MS = 1000,
    RETRY_LAST_MS = 60000,
    /* The daemon of `xl create` begins to destroy its domain at once. */
    DAEMON_MS = 5000,
};

/* -- one restart */

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

static bool destroy(struct hypervisor *hv, uint32_t id, struct error *err)
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
                              : destroy(hv, old.id, err);
}

static bool is_taken(const struct xen_domain *domains, size_t count, int id)
{
    for (size_t i = 0; i < count; i++)
        if (domains[i].id == (uint32_t)id)
            return true;
    return false;
}

/* Another one each time: libxl refuses a number that was given back only lately. */
static bool choose_id(struct hypervisor *hv, struct xen_restart *restart, struct error *err)
{
    auto_free struct xen_domain *domains = NULL;
    size_t count;
    int id = restart->new_id ? restart->new_id : restart->old_id;
    if (!xen_domain_list(hv, &domains, &count, err))
        return false;
    do
        id = id < XEN_ID_LAST ? id + 1 : 1;
    while (is_taken(domains, count, id));
    restart->new_id = id;
    return true;
}

static bool build(struct xen_guard *guard, struct xen_restart *restart, struct error *err)
{
    struct hypervisor *hv = guard->hv;
    struct xen_domain domain;
    auto_free char *config = NULL;
    restart->is_built = false;
    if (!choose_id(hv, restart, err) || !xen_restart_config(restart, &config, err) ||
        !xen_restart_write(guard->hv->restarts, restart, err) || !create(config, err) ||
        !failpoint("guard.created", err) || !xen_domain_find(hv, restart->uuid, &domain, err) ||
        !xen_mark_set(&domain, XEN_MARK_GUARDED, err))
        return false;
    restart->is_built = true;
    return xen_restart_write(guard->hv->restarts, restart, err);
}

static bool start(struct xen_guard *guard, const struct xen_restart *restart, struct error *err)
{
    struct xen_domain domain;
    if (!xen_domain_look(guard->hv, (uint32_t)restart->new_id, &domain, err))
        return false;
    xen_begin();
    int rc = domain.is_paused ? libxl_domain_unpause(guard->hv->main.ctx, domain.id, NULL) : 0;
    if (rc)
        return xen_failed(rc, err, "unpausing it");
    log_info("domain %s: its guest was started again, as domain number %u instead of %d",
             restart->uuid, domain.id, restart->old_id);
    return true;
}

/* Who else started the guest has it. What an agent that died left half-built was never unpaused, so
 * a domain that runs is not that, whatever its number. */
static bool make_new(struct xen_guard *guard, struct xen_restart *restart, struct error *err)
{
    struct xen_domain now;
    bool is_there = xen_domain_find(guard->hv, restart->uuid, &now, err);
    if (!is_there && err->code != ERROR_NOT_FOUND)
        return false;
    bool is_ours =
        is_there && now.id == (uint32_t)restart->new_id && (restart->is_built || now.is_paused);
    if (is_there && !is_ours) {
        log_warning("domain %s: its guest was started again by somebody else", restart->uuid);
        return true;
    }
    if (!is_there && restart->is_built) {
        /* It may have run and be at another host now: a second one must never begin. */
        log_warning("domain %s: its guest was started again, and its domain is gone since",
                    restart->uuid);
        return true;
    }
    if (is_there && !restart->is_built && !destroy(guard->hv, now.id, err))
        return false;
    return ((is_there && restart->is_built) || build(guard, restart, err)) &&
           start(guard, restart, err);
}

/* After a reboot of the host its domains are gone like any others. */
static bool finish(struct xen_guard *guard, struct xen_restart *restart, struct error *err)
{
    bool is_over = strcmp(restart->boot, guard->hv->boot) != 0;
    if (!is_over &&
        (!failpoint("guard.recorded", err) || !clear_away(guard->hv, restart, &is_over, err)))
        return false;
    if (!is_over && (!failpoint("guard.cleared", err) || !make_new(guard, restart, err)))
        return false;
    return failpoint("guard.started", err) &&
           xen_restart_remove(guard->hv->restarts, restart->uuid, err);
}

static void note_failure(struct xen_guard *guard, const char *uuid, const struct error *err)
{
    log_error("domain %s: its guest ended and cannot be dealt with, trying again: %s", uuid,
              err->text);
    guard->has_failed = true;
}

static void finish_all(struct xen_guard *guard)
{
    auto_free char(*uuids)[UUID_SIZE] = NULL;
    size_t count = 0;
    struct error err;
    if (!xen_restart_list(guard->hv->restarts, &uuids, &count, &err))
        note_failure(guard, "?", &err);
    for (size_t i = 0; i < count; i++) {
        auto_xen_restart struct xen_restart restart = {0};
        if (!xen_restart_read(guard->hv->restarts, uuids[i], &restart, &err) ||
            !finish(guard, &restart, &err))
            note_failure(guard, uuids[i], &err);
    }
}

/* -- guests that have ended */

static bool has_waited(struct xen_guard *guard, uint32_t id)
{
    int64_t now_ms = clock_monotonic_ms();
    for (size_t i = 0; i < XEN_GUARD_WAITING; i++)
        if (guard->seen[i].id == id)
            return now_ms - guard->seen[i].since_ms >= DAEMON_MS;
    guard->seen[guard->next_seen++ % XEN_GUARD_WAITING] =
        (struct xen_guard_seen){.id = id, .since_ms = now_ms};
    return false;
}

static bool begin_restart(struct xen_guard *guard, const struct xen_domain *domain,
                          const char *config, bool keeps_old, struct error *err)
{
    struct xen_restart restart = {.old_id = (int)domain->id,
                                  .keeps_old = keeps_old,
                                  .memory_bytes = domain->memory_bytes,
                                  .config = (char *)config};
    memcpy(restart.uuid, domain->uuid, sizeof restart.uuid);
    memcpy(restart.boot, guard->hv->boot, sizeof restart.boot);
    return xen_restart_write(guard->hv->restarts, &restart, err) && finish(guard, &restart, err);
}

static bool act(struct xen_guard *guard, const struct xen_domain *domain, struct error *err)
{
    struct hypervisor *hv = guard->hv;
    auto_free char *config = NULL;
    enum xen_action action;
    const char *left_out;
    struct error why;
    if (!xen_domain_live_config(hv, domain->id, &config, &why) &&
        !xen_domain_stored_config(hv, domain->id, &config, err))
        return false;
    if (!xen_ending_action(config, domain->ending, &action, &left_out, err))
        return false;
    log_info("domain %s, number %u: its guest %s, so: %s%s%s", domain->uuid, domain->id,
             xen_ending_words[domain->ending], xen_action_names[action],
             *left_out ? ", without " : "", left_out);
    switch (action) {
    case XEN_DESTROY:
        return destroy(hv, domain->id, err);
    case XEN_PRESERVE:
        return xen_mark_set(domain, XEN_UNMARKED, err);
    case XEN_RESTART:
    case XEN_RENAME_RESTART:
        break;
    }
    return begin_restart(guard, domain, config, action == XEN_RENAME_RESTART, err);
}

static void look_at(struct xen_guard *guard, const struct xen_domain *domain)
{
    enum xen_mark mark;
    struct error err;
    if (domain->ending == XEN_GOES_ON)
        return;
    if (!xen_mark_get(domain, &mark, &err)) {
        note_failure(guard, domain->uuid, &err);
        return;
    }
    if (mark == XEN_UNMARKED)
        return;
    if ((mark == XEN_MARK_RESUMED && !has_waited(guard, domain->id)) ||
        !guard->may_restart(guard->context, domain->uuid))
        guard->is_pending = true;
    else if (!act(guard, domain, &err))
        note_failure(guard, domain->uuid, &err);
}

static void look_at_all(struct xen_guard *guard)
{
    auto_free struct xen_domain *domains = NULL;
    size_t count = 0;
    struct error err;
    if (!xen_domain_list(guard->hv, &domains, &count, &err))
        note_failure(guard, "?", &err);
    for (size_t i = 0; i < count; i++)
        look_at(guard, &domains[i]);
}

int xen_guard_turn(struct xen_guard *guard)
{
    guard->is_pending = guard->has_failed = false;
    finish_all(guard);
    look_at_all(guard);
    if (!guard->has_failed)
        guard->retry_ms = 0;
    else if (guard->retry_ms == 0)
        guard->retry_ms = RETRY_FIRST_MS;
    else
        guard->retry_ms = guard->retry_ms * 2 < RETRY_LAST_MS ? guard->retry_ms * 2 : RETRY_LAST_MS;
    if (guard->is_pending)
        return PENDING_MS;
    return guard->has_failed ? guard->retry_ms : IDLE_MS;
}
