/* The driver's object and its contexts of libxenlight. */
#pragma once

#include "agent/hypervisor/libxl/xen_restart.h"

#include <libxl.h>
#include <pthread.h>

struct xen_logger {
    xentoollog_logger vtable; /* first: libxl knows the logger by it */
    /* Progress of the operation of this context; NULL where nobody asks. */
    void (*on_progress)(void *context, unsigned long done, unsigned long total);
    void *context;
};

struct xen_context {
    struct xen_logger logger;
    libxl_ctx *ctx;
};

enum { XEN_RUNS_REMEMBERED = 64 };

/* What was seen of domains; see xen_run.h. */
struct xen_runs {
    pthread_mutex_t lock;
    struct xen_ended {
        uint32_t id;
        enum xen_ending ending;
    } ended[XEN_RUNS_REMEMBERED];
    size_t next;
};

struct hypervisor {
    char *run_directory;
    char *restarts; /* the folder of xen_restart.h, durable; NULL: no `watch` is possible */
    char *arrivals; /* that of xen_adopt.h, durable; NULL as that one */
    uint64_t memory_limit_bytes; /* for all domains together; 0: none */
    struct xen_context main;     /* for all that is short; save and restore have their own */
    int version_major, version_minor;
    char version[64];
    uint64_t page_bytes;
    size_t type_count; /* see xen_types.h */
    struct inventory_guest_type types[LIMIT_GUEST_TYPES];
    char boot[XEN_BOOT_SIZE];
    struct xen_runs runs;
    struct xen_watch *watch; /* NULL: not begun */
};

/* Asks libxl for nothing yet but a connection to xenstored. */
bool xen_context_open(struct xen_context *out, struct error *err) must_check;
void xen_context_close(struct xen_context *context); /* one that is all zeroes is fine */
#define auto_xen_context __attribute__((cleanup(xen_context_close)))

/* Puts libxl's return code and, when this thread's last operation left one, its own first complaint
 * into *err; false. xen_begin forgets the complaints before an operation. */
void xen_begin(void);
#define xen_failed(rc, err, ...)                                                                   \
    __extension__({                                                                                \
        xen_fail(rc, err, __VA_ARGS__);                                                            \
        false;                                                                                     \
    })
void xen_fail(int rc, struct error *err, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
