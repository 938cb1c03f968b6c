/* Nodes /libxl/<number>/crosspool-guard; see xen_mark.h. */
#include "agent/hypervisor/libxl/xen_mark.h"

#include "base/cleanup.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xenstore.h>

static const char *const words[] = {
    [XEN_MARK_GUARDED] = "guarded",
    [XEN_MARK_RESUMED] = "resumed",
};

static void close_store(struct xs_handle **store)
{
    if (*store)
        xs_close(*store);
}
#define auto_store __attribute__((cleanup(close_store))) struct xs_handle

static void path_of(const struct xen_domain *domain, char out[64])
{
    snprintf(out, 64, "/libxl/%u/crosspool-guard", domain->id);
}

static void value_of(const struct xen_domain *domain, enum xen_mark mark, char out[64])
{
    snprintf(out, 64, "%s %s", words[mark], domain->uuid);
}

bool xen_mark_set(const struct xen_domain *domain, enum xen_mark mark, struct error *err)
{
    char path[64], value[64];
    auto_store *store = xs_open(0);
    path_of(domain, path);
    bool is_done = store != NULL;
    if (is_done && mark == XEN_UNMARKED) {
        is_done = xs_rm(store, XBT_NULL, path) || errno == ENOENT;
    } else if (is_done) {
        value_of(domain, mark, value);
        is_done = xs_write(store, XBT_NULL, path, value, (unsigned)strlen(value));
    }
    return is_done || error_set_errno(err, ERROR_INTERNAL, errno, "xenstore, %s", path);
}

bool xen_mark_get(const struct xen_domain *domain, enum xen_mark *out, struct error *err)
{
    char path[64], value[64];
    unsigned size = 0;
    auto_store *store = xs_open(0);
    path_of(domain, path);
    auto_free char *found = store ? xs_read(store, XBT_NULL, path, &size) : NULL;
    if (!found && (!store || errno != ENOENT))
        return error_set_errno(err, ERROR_INTERNAL, errno, "xenstore, %s", path);
    *out = XEN_UNMARKED;
    for (int mark = XEN_MARK_GUARDED; found && mark <= XEN_MARK_RESUMED; mark++) {
        value_of(domain, (enum xen_mark)mark, value);
        if (size == strlen(value) && memcmp(found, value, size) == 0)
            *out = (enum xen_mark)mark;
    }
    return true;
}
