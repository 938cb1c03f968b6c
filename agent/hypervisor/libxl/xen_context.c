/* Contexts, libxl's messages and return codes; see xen_context.h. */
#include "agent/hypervisor/libxl/xen_context.h"

#include "base/log.h"
#include "base/memory.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* libxl says first what went wrong and then, outwards, what failed by it. It works in the thread
 * that called it. */
static _Thread_local char first_complaint[160];

void xen_begin(void)
{
    first_complaint[0] = '\0';
}

/* Errors begin with a place in libxl's source, which the log keeps. */
static const char *without_place(const char *text)
{
    const char *file = strstr(text, ".c:");
    const char *end = file ? strstr(file, ": ") : NULL;
    return end ? end + 2 : text;
}

static void __attribute__((format(printf, 5, 0)))
take_message(xentoollog_logger *logger, xentoollog_level level, int errno_value,
             const char *context, const char *format, va_list arguments)
{
    char text[400];
    (void)logger;
    vsnprintf(text, sizeof text, format, arguments);
    if (level < XTL_WARN) {
        log_debug("libxl: %s", text);
        return;
    }
    const char *reason = errno_value > 0 ? strerror(errno_value) : "";
    log_warning("libxl: %s%s%s%s%s", context ? context : "", context ? ": " : "", text,
                *reason ? ": " : "", reason);
    if (level >= XTL_ERROR && !first_complaint[0])
        snprintf(first_complaint, sizeof first_complaint, "%.100s%s%s", without_place(text),
                 *reason ? ": " : "", reason);
}

static void take_progress(xentoollog_logger *logger, const char *context, const char *doing,
                          int percent, unsigned long done, unsigned long total)
{
    const struct xen_logger *own = (const struct xen_logger *)logger;
    (void)context;
    (void)doing;
    (void)percent;
    if (own->on_progress)
        own->on_progress(own->context, done, total);
}

static void keep(xentoollog_logger *logger)
{
    (void)logger; /* part of the context */
}

/* The agent reaps its own children by their pid, so each context is told to leave them alone: one
 * that is not would take their exit status away. */
static const libxl_childproc_hooks child_rules = {
    .chldowner = libxl_sigchld_owner_libxl_always_selective_reap};

bool xen_context_open(struct xen_context *out, struct error *err)
{
    out->logger = (struct xen_logger){
        .vtable = {.vmessage = take_message, .progress = take_progress, .destroy = keep}};
    xen_begin();
    int rc = libxl_ctx_alloc(&out->ctx, LIBXL_VERSION, 0, &out->logger.vtable);
    if (rc) {
        out->ctx = NULL;
        return xen_failed(rc, err, "cannot open libxl, is xenstored running");
    }
    libxl_childproc_setmode(out->ctx, &child_rules, NULL);
    return true;
}

void xen_context_close(struct xen_context *context)
{
    if (context->ctx)
        libxl_ctx_free(context->ctx);
    context->ctx = NULL;
}

static enum error_code code_of(int rc)
{
    switch (rc) {
    case ERROR_NOMEM:
        return ERROR_NO_SPACE;
    case ERROR_DOMAIN_NOTFOUND:
    case ERROR_DOMAIN_DESTROYED:
    case ERROR_NOTFOUND:
        return ERROR_NOT_FOUND;
    case ERROR_TIMEDOUT:
    case ERROR_GUEST_TIMEDOUT:
        return ERROR_TIMEOUT;
    case ERROR_ABORTED:
        return ERROR_CANCELLED;
    case ERROR_VERSION:
    case ERROR_NI:
    case ERROR_NOPARAVIRT:
    case ERROR_FEATURE_REMOVED:
        return ERROR_UNSUPPORTED;
    default:
        return ERROR_INTERNAL;
    }
}

void xen_fail(int rc, struct error *err, const char *fmt, ...)
{
    char what[160];
    va_list arguments;
    va_start(arguments, fmt);
    vsnprintf(what, sizeof what, fmt, arguments);
    va_end(arguments);
    const char *complaint = first_complaint[0] ? first_complaint : "no reason given";
    error_set(err, code_of(rc), "%s: %s (libxl %d)", what, complaint, rc);
}
