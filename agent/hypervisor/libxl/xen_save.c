/* save: libxl's save, driven from here instead of waited for, so that it can be cancelled and
 * the suspension is seen when it happens. The mirrors must end between the suspension and the
 * moment in which libxl saves an HVM domain's devices: QEMU then gives up its images, which a
 * mirror that still runs forbids. libxl goes on only inside libxl_osevent_afterpoll, so each call
 * of it is preceded by a look at the domain.
 *
 *   libxl, helper                     here
 *   header of the stream              nothing may fail yet, see xen_header.h
 *   memory passes (live only)         progress; a cancel aborts the operation
 *   asks the guest to suspend
 *   (domain is suspended)             QEMU stop, on_suspended
 *   HVM: QEMU stop, device state
 *   last pass (not live: the only     progress
 *   one), END record
 *   done                              QEMU stop again: what the end of the mirrors left is flushed
 */
#include "agent/hypervisor/libxl/xen_save.h"

#include "agent/hypervisor/libxl/xen_header.h"
#include "agent/hypervisor/libxl/xen_mark.h"
#include "agent/hypervisor/libxl/xen_types.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"

#include <errno.h>
#include <libxl_event.h>
#include <poll.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

enum {
    TICK_MS = 100,
    FD_ROOM = 64, /* to begin with */
    /* A guest that was asked to suspend by an operation that has ended may still do it. */
    LATE_SUSPEND_MS = 3000,
    LATE_SUSPEND_TICK_MS = 50,
};

struct save {
    struct hypervisor *hv;
    bool is_live;
    struct xen_domain domain;
    const struct save_hooks *hooks;
    struct xen_context context; /* its events are this save's alone */
    libxl_asyncop_how how;
    struct pollfd *fds;
    int fd_room;
    struct memory_progress progress;
    uint64_t sent_before; /* by the passes that are over */
    int64_t pass_began_ms;
    unsigned long pass_done;
    int held;        /* of the stream, until the helper has begun */
    bool has_helper; /* libxl's helper process has begun: the operation may fail from now on */
    bool is_aborted, is_hook_called;
    bool has_failed; /* for a reason of ours, below */
    struct error failure;
};

static void save_done(struct save *save)
{
    xen_context_close(&save->context);
    cleanup_close(&save->held);
    free(save->fds);
}

/* -- progress */

/* Of what a pass that looks at `total` pages has sent: the first one looks at the domain's holes
 * too, which are many. */
static uint64_t sent_of(const struct save *save, unsigned long done, unsigned long total)
{
    uint64_t memory = save->progress.total;
    uint64_t page_bytes = save->hv->page_bytes;
    if (total * page_bytes <= memory)
        return done * page_bytes;
    return (uint64_t)((double)memory * (double)done / (double)total);
}

/* libxl counts pages of one pass, from 0, which it may say more than once. */
static void note_progress(void *context, unsigned long done, unsigned long total)
{
    struct save *save = context;
    struct memory_progress *progress = &save->progress;
    if (done < save->pass_done || progress->iteration == 0) {
        int64_t now_ms = clock_monotonic_ms();
        uint64_t took_ms = (uint64_t)(now_ms - save->pass_began_ms) + 1;
        if (progress->iteration > 0)
            progress->dirty_rate_per_s = total * save->hv->page_bytes * 1000 / took_ms;
        progress->iteration++;
        save->sent_before = progress->sent;
        save->pass_began_ms = now_ms;
    }
    save->pass_done = done;
    progress->sent = save->sent_before + sent_of(save, done, total);
    if (save->hooks->on_progress)
        save->hooks->on_progress(save->hooks->context, progress);
}

/* -- the run */

static void fail_save(struct save *save, const struct error *why)
{
    if (!save->has_failed)
        save->failure = *why;
    save->has_failed = true;
}

static void abort_save(struct save *save)
{
    if (save->is_aborted || !save->has_helper)
        return;
    save->is_aborted = true;
    int rc = libxl_ao_abort(save->context.ctx, &save->how);
    if (rc)
        log_warning("domain %s: its save cannot be aborted (libxl %d)", save->domain.uuid, rc);
}

/* An HVM domain's QEMU is stopped by libxl, which may be talking to it already. */
static bool stop_qemu(struct save *save, struct error *err)
{
    return save->domain.type == XEN_HVM || !xen_domain_has_qemu(save->domain.id) ||
           xen_domain_tell_qemu(save->hv, save->domain.id, "stop", err);
}

static bool call_hook(struct save *save, struct error *err)
{
    save->is_hook_called = true;
    return stop_qemu(save, err) && save->hooks->on_suspended(save->hooks->context, err);
}

/* The only shutdown that a save wants is a suspension. */
static bool check_goes_on(const struct xen_domain *now, struct error *err)
{
    return now->ending == XEN_GOES_ON || error_set(err, ERROR_GUEST_ENDED, "the guest %s meanwhile",
                                                   xen_ending_words[now->ending]);
}

/* What has happened meanwhile? */
static void judge(struct save *save)
{
    struct xen_domain now;
    struct error why;
    if (!xen_domain_look(save->hv, save->domain.id, &now, &why)) {
        fail_save(save, &why);
    } else if (!check_goes_on(&now, &why)) {
        fail_save(save, &why);
    } else if (now.is_suspended) {
        if (!call_hook(save, &why))
            fail_save(save, &why);
    } else if (save->hooks->is_cancelled && save->hooks->is_cancelled(save->hooks->context)) {
        error_set(&why, ERROR_CANCELLED, "cancelled while the memory is sent");
        fail_save(save, &why);
    }
}

static void look(struct save *save)
{
    if (!save->is_hook_called && !save->has_failed)
        judge(save);
    if (save->has_failed)
        abort_save(save);
    if (save->has_helper && save->held >= 0)
        close(take_fd(&save->held));
}

/* One turn of libxl's event loop. beforepoll fails only where there is too little room. */
static void turn(struct save *save)
{
    struct timeval now;
    int count = save->fd_room, timeout_ms = TICK_MS;
    gettimeofday(&now, NULL);
    while (libxl_osevent_beforepoll(save->context.ctx, &count, save->fds, &timeout_ms, now)) {
        save->fds = memory_resize(save->fds, (size_t)count, sizeof *save->fds);
        save->fd_room = count;
    }
    if (timeout_ms < 0 || timeout_ms > TICK_MS)
        timeout_ms = TICK_MS;
    bool has_polled = poll(save->fds, (nfds_t)count, timeout_ms) >= 0;
    gettimeofday(&now, NULL); /* the hook's time is not to look like a guest that does not answer */
    look(save);
    if (has_polled)
        libxl_osevent_afterpoll(save->context.ctx, count, save->fds, now);
}

static bool take_result(struct save *save, int *rc)
{
    libxl_event *event = NULL;
    while (libxl_event_check(save->context.ctx, &event, LIBXL_EVENTMASK_ALL, NULL, NULL) == 0) {
        bool is_ours = event->type == LIBXL_EVENT_TYPE_OPERATION_COMPLETE;
        if (is_ours)
            *rc = event->u.operation_complete.rc;
        libxl_event_free(save->context.ctx, event);
        if (is_ours)
            return true;
    }
    return false;
}

/* Of the processes that libxl starts in this context the helper is the first. */
static pid_t fork_helper(void *context)
{
    struct save *save = context;
    save->has_helper = true;
    return fork();
}

static bool run(struct save *save, int fd, struct error *err)
{
    static const libxl_childproc_hooks child_rules = {
        .chldowner = libxl_sigchld_owner_libxl_always_selective_reap,
        .fork_replacement = fork_helper,
    };
    libxl_childproc_setmode(save->context.ctx, &child_rules, save);
    save->held = xen_header_hold(fd, err);
    if (save->held < 0)
        return false;
    xen_begin();
    int rc = libxl_domain_suspend(save->context.ctx, save->domain.id, fd,
                                  save->is_live ? LIBXL_SUSPEND_LIVE : 0, &save->how);
    if (rc)
        return xen_failed(rc, err, "libxl's save");
    while (!take_result(save, &rc))
        turn(save);
    if (save->has_failed)
        *err = save->failure;
    else if (rc)
        xen_fail(rc, err, "libxl's save");
    return !save->has_failed && rc == 0;
}

static bool finish(struct save *save, struct error *err)
{
    struct xen_domain now;
    if (!xen_domain_look(save->hv, save->domain.id, &now, err) || !check_goes_on(&now, err))
        return false;
    if (!now.is_suspended)
        return error_set(err, ERROR_INTERNAL, "the domain is not suspended after its save");
    return (save->is_hook_called || call_hook(save, err)) && stop_qemu(save, err);
}

static bool open_parts(struct save *save, const char *uuid, struct error *err)
{
    if (!xen_domain_find(save->hv, uuid, &save->domain, err))
        return false;
    if (save->domain.state != DOMAIN_RUNNING)
        return error_set(err, ERROR_CONFLICT, "the domain is %s, expected running",
                         domain_state_names[save->domain.state]);
    const struct inventory_guest_type *type = xen_types_find(save->hv, save->domain.type);
    if (save->is_live && (!type || !type->is_live))
        return error_set(err, ERROR_UNSUPPORTED, "%s domains cannot be moved live: %s",
                         xen_type_names[save->domain.type],
                         type ? type->why_not_live : "this host cannot run them");
    save->progress.total = save->domain.memory_bytes;
    if (!xen_context_open(&save->context, err))
        return false;
    save->context.logger.on_progress = note_progress;
    save->context.logger.context = save;
    save->how.u.for_event = 1;
    save->fd_room = FD_ROOM;
    save->fds = memory_array(FD_ROOM, sizeof *save->fds);
    save->pass_began_ms = clock_monotonic_ms();
    return true;
}

/* Also right when the domain vanished or its guest ended: it is not suspended. */
static bool suspends_late(struct hypervisor *hv, uint32_t id)
{
    struct xen_domain now;
    struct error why;
    int64_t deadline = clock_monotonic_ms() + LATE_SUSPEND_MS;
    for (;;) {
        if (!xen_domain_look(hv, id, &now, &why))
            return false;
        if (now.is_suspended || now.ending != XEN_GOES_ON || clock_monotonic_ms() >= deadline)
            return now.is_suspended;
        clock_sleep_ms(LATE_SUSPEND_TICK_MS);
    }
}

bool xen_save(struct hypervisor *hv, const char *uuid, bool is_live, int fd,
              const struct save_hooks *hooks, bool *is_suspended, struct error *err)
{
    *is_suspended = false;
    __attribute__((cleanup(save_done))) struct save save = {
        .hv = hv, .is_live = is_live, .hooks = hooks, .held = -1};
    if (!open_parts(&save, uuid, err))
        return error_prefix(err, "saving domain %s", uuid);
    if (run(&save, fd, err) && finish(&save, err)) {
        *is_suspended = true;
        return true;
    }
    *is_suspended = suspends_late(hv, save.domain.id);
    return error_prefix(err, "saving domain %s", uuid);
}

/* -- resume */

/* A daemon of xl that saw the suspension has ended: from now on the guard looks after the domain. A
 * guest without one is still better than none. */
static void take_over(const struct xen_domain *domain)
{
    enum xen_mark mark;
    struct error err;
    if (!xen_mark_get(domain, &mark, &err) ||
        (mark == XEN_UNMARKED && !xen_mark_set(domain, XEN_MARK_RESUMED, &err)))
        log_error("domain %s: nobody will act on the end of its guest: %s", domain->uuid, err.text);
}

/* The guest continues as if its suspension had been cancelled; libxl continues an HVM domain's QEMU
 * itself, and the others' block layer is ours. One that has ended has nothing to continue. */
static bool undo(struct hypervisor *hv, const struct xen_domain *domain, struct error *err)
{
    if (domain->ending != XEN_GOES_ON)
        return true;
    if (domain->type != XEN_HVM && xen_domain_has_qemu(domain->id) &&
        !xen_domain_has_lost_qemu(domain->id) && !xen_domain_tell_qemu(hv, domain->id, "cont", err))
        return false;
    if (!suspends_late(hv, domain->id))
        return true;
    take_over(domain);
    xen_begin();
    int rc = libxl_domain_resume(hv->main.ctx, domain->id, 1, NULL);
    return !rc || xen_failed(rc, err, "libxl's resume");
}

bool xen_save_undo(struct hypervisor *hv, const char *uuid, struct error *err)
{
    struct xen_domain domain;
    return (xen_domain_find(hv, uuid, &domain, err) && undo(hv, &domain, err)) ||
           error_prefix(err, "resuming domain %s", uuid);
}
