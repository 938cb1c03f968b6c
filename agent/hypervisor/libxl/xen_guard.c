/* What the guard finds and does; see xen_guard.h. */
#include "agent/hypervisor/libxl/xen_guard.h"

#include "agent/hypervisor/libxl/xen_mark.h"
#include "agent/hypervisor/libxl/xen_start.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"

#include <string.h>

enum {
    IDLE_MS = 30000, /* events wake it: only for those that were missed */
    PENDING_MS = 200,
    RETRY_FIRST_MS = 1000,
    RETRY_LAST_MS = 60000,
    /* The daemon of `xl create` begins to destroy its domain at once. */
    DAEMON_MS = 5000,
};

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
            !xen_start_finish(guard->hv, &restart, &err))
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
    return xen_restart_write(guard->hv->restarts, &restart, err) &&
           xen_start_finish(guard->hv, &restart, err);
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
        return xen_start_destroy(hv, domain->id, err);
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

static void turn(struct xen_guard *guard)
{
    auto_xen_restart_lock struct xen_restart_lock lock = XEN_RESTART_UNLOCKED;
    struct error err;
    if (xen_restart_lock(guard->hv->restarts, &lock, &err)) {
        finish_all(guard);
        look_at_all(guard);
    } else if (err.code == ERROR_CONFLICT) {
        guard->is_pending = true;
    } else {
        note_failure(guard, "?", &err);
    }
}

int xen_guard_turn(struct xen_guard *guard)
{
    guard->is_pending = guard->has_failed = false;
    turn(guard);
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
