/* The two threads; see xen_watch.h. */
#include "agent/hypervisor/libxl/xen_watch.h"

#include "agent/hypervisor/libxl/xen_domain.h"
#include "agent/hypervisor/libxl/xen_guard.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <xenstore.h>

enum { REOPEN_MS = 1000, LOOK_MS = 30000 };

struct xen_watch {
    struct hypervisor *hv;
    pthread_t listener, guard_thread;
    bool has_listener, has_guard;
    int stop_fd; /* readable: the listener shall end */
    struct xen_guard guard;

    pthread_mutex_t call_lock; /* held during a call out */
    struct domain_watch calls;
    bool has_calls;

    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t changed;
    bool has_news, is_stopping;
};

/* -- calls out */

static void tell_change(struct xen_watch *watch)
{
    pthread_mutex_lock(&watch->call_lock);
    if (watch->has_calls)
        watch->calls.on_change(watch->calls.context);
    pthread_mutex_unlock(&watch->call_lock);
}

static bool ask_may_restart(void *context, const char *uuid)
{
    struct xen_watch *watch = context;
    pthread_mutex_lock(&watch->call_lock);
    bool may = watch->has_calls && watch->calls.may_restart(watch->calls.context, uuid);
    pthread_mutex_unlock(&watch->call_lock);
    return may;
}

static void wake_guard(struct xen_watch *watch)
{
    pthread_mutex_lock(&watch->lock);
    watch->has_news = true;
    pthread_cond_broadcast(&watch->changed);
    pthread_mutex_unlock(&watch->lock);
}

/* -- the listener */

/* The list remembers how guests ended before anybody else can take their domains away. */
static void look(struct xen_watch *watch)
{
    auto_free struct xen_domain *domains = NULL;
    size_t count;
    struct error err;
    if (!xen_domain_list(watch->hv, &domains, &count, &err))
        log_warning("%s", err.text);
    wake_guard(watch);
    tell_change(watch);
}

static struct xs_handle *open_store(void)
{
    struct xs_handle *store = xs_open(0);
    if (store && xs_watch(store, "@introduceDomain", "come") &&
        xs_watch(store, "@releaseDomain", "gone"))
        return store;
    if (store)
        xs_close(store);
    return NULL;
}

/* False: the connection is of no more use. */
static bool drain_events(struct xs_handle *store)
{
    char **event;
    while ((event = xs_check_watch(store)))
        free(event);
    return errno == EAGAIN;
}

static bool must_stop(struct xen_watch *watch, struct xs_handle *store, int timeout_ms)
{
    struct pollfd fds[] = {{.fd = watch->stop_fd, .events = POLLIN},
                           {.fd = store ? xs_fileno(store) : -1, .events = POLLIN}};
    poll(fds, 2, timeout_ms);
    return fds[0].revents != 0;
}

static void *listen_to_store(void *context)
{
    struct xen_watch *watch = context;
    struct xs_handle *store = NULL;
    bool is_told = false, must_end = false;
    while (!must_end) {
        if (!store) {
            store = open_store();
            if (!store && !is_told)
                log_error("xenstored cannot be listened to: %s", strerror(errno));
            is_told = !store;
        }
        look(watch);
        must_end = must_stop(watch, store, store ? LOOK_MS : REOPEN_MS);
        if (store && !drain_events(store)) {
            xs_close(store);
            store = NULL;
        }
    }
    if (store)
        xs_close(store);
    return NULL;
}

/* -- the guard's thread */

static bool wait_for_news(struct xen_watch *watch, int ms)
{
    int64_t until_ms = clock_monotonic_ms() + ms;
    struct timespec until = {.tv_sec = until_ms / 1000, .tv_nsec = until_ms % 1000 * 1000000};
    int code = 0;
    pthread_mutex_lock(&watch->lock);
    while (!watch->has_news && !watch->is_stopping && code == 0)
        code = pthread_cond_timedwait(&watch->changed, &watch->lock, &until);
    watch->has_news = false;
    bool goes_on = !watch->is_stopping;
    pthread_mutex_unlock(&watch->lock);
    return goes_on;
}

static void *run_guard(void *context)
{
    struct xen_watch *watch = context;
    int wait_ms = 0;
    while (wait_for_news(watch, wait_ms))
        wait_ms = xen_guard_turn(&watch->guard);
    return NULL;
}

/* -- begin and end */

static void stop_threads(struct xen_watch *watch)
{
    pthread_mutex_lock(&watch->lock);
    watch->is_stopping = true;
    pthread_cond_broadcast(&watch->changed);
    pthread_mutex_unlock(&watch->lock);
    eventfd_write(watch->stop_fd, 1);
    if (watch->has_listener)
        pthread_join(watch->listener, NULL);
    if (watch->has_guard)
        pthread_join(watch->guard_thread, NULL);
}

static struct xen_watch *watch_new(struct hypervisor *hv)
{
    struct xen_watch *watch = memory_alloc(sizeof *watch);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&watch->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&watch->lock, NULL);
    pthread_mutex_init(&watch->call_lock, NULL);
    watch->hv = hv;
    watch->stop_fd = eventfd(0, EFD_CLOEXEC);
    watch->guard = (struct xen_guard){.hv = hv, .may_restart = ask_may_restart, .context = watch};
    return watch;
}

static void watch_free(struct xen_watch *watch)
{
    stop_threads(watch);
    if (watch->stop_fd >= 0)
        close(watch->stop_fd);
    pthread_cond_destroy(&watch->changed);
    pthread_mutex_destroy(&watch->lock);
    pthread_mutex_destroy(&watch->call_lock);
    free(watch);
}

static bool start_threads(struct xen_watch *watch, struct error *err)
{
    if (watch->stop_fd < 0)
        return error_set_errno(err, ERROR_INTERNAL, errno, "eventfd");
    int code = pthread_create(&watch->listener, NULL, listen_to_store, watch);
    watch->has_listener = code == 0;
    if (code == 0)
        code = pthread_create(&watch->guard_thread, NULL, run_guard, watch);
    watch->has_guard = watch->has_listener && code == 0;
    return code == 0 || error_set_errno(err, ERROR_INTERNAL, code, "a thread that watches domains");
}

static void silence(struct xen_watch *watch)
{
    pthread_mutex_lock(&watch->call_lock);
    watch->has_calls = false;
    pthread_mutex_unlock(&watch->call_lock);
}

bool xen_watch(struct hypervisor *hv, const struct domain_watch *calls, struct error *err)
{
    if (!calls) {
        if (hv->watch)
            silence(hv->watch);
        return true;
    }
    if (hv->watch)
        return error_set(err, ERROR_CONFLICT, "the domains are watched already");
    if (!hv->restarts)
        return error_set(err, ERROR_INVALID, "libxl: state_directory is missing");
    struct xen_watch *watch = watch_new(hv);
    watch->calls = *calls;
    watch->has_calls = true;
    if (!start_threads(watch, err)) {
        watch_free(watch);
        return false;
    }
    hv->watch = watch;
    return true;
}

void xen_watch_close(struct hypervisor *hv)
{
    if (hv->watch)
        watch_free(hv->watch);
    hv->watch = NULL;
}
