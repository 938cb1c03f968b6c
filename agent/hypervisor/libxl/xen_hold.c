/* Pause and unpause, with the file; see xen_hold.h. Xen counts pauses, so each is undone once. */
#include "agent/hypervisor/libxl/xen_hold.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "base/memory.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static char *path_of(const struct hypervisor *hv, const char *uuid)
{
    return memory_format("%s/held/%s", hv->run_directory, uuid);
}

/* The domain's number stands in the file: after a reboot the guest is another domain. */
static bool write_mark(const struct hypervisor *hv, const struct xen_domain *domain,
                       struct error *err)
{
    auto_free char *folder = memory_format("%s/held", hv->run_directory);
    auto_free char *path = path_of(hv, domain->uuid);
    auto_free char *text = memory_format("%u\n", domain->id);
    return file_make_directory(folder, 0700, err) &&
           file_write(path, 0600, text, strlen(text), err);
}

static bool read_mark(const struct hypervisor *hv, const char *uuid, uint32_t *id,
                      struct error *err)
{
    auto_free char *path = path_of(hv, uuid);
    auto_free char *text = NULL;
    if (!file_read(path, 32, &text, NULL, err))
        return false;
    *id = (uint32_t)strtoul(text, NULL, 10);
    return true;
}

bool xen_hold_forget(struct hypervisor *hv, const char *uuid, struct error *err)
{
    auto_free char *path = path_of(hv, uuid);
    return file_remove(path, err);
}

bool xen_hold(struct hypervisor *hv, const char *uuid, struct error *err)
{
    struct xen_domain domain;
    if (!xen_domain_find(hv, uuid, &domain, err))
        return false;
    if (domain.is_paused) /* by somebody else, or by us before */
        return true;
    if (!write_mark(hv, &domain, err))
        return error_prefix(err, "holding domain %s", uuid);
    xen_begin();
    int rc = libxl_domain_pause(hv->main.ctx, domain.id, NULL);
    return !rc || xen_failed(rc, err, "pausing domain %s", uuid);
}

bool xen_hold_release(struct hypervisor *hv, const char *uuid, struct error *err)
{
    struct xen_domain domain;
    uint32_t held;
    if (!uuid_is_valid(uuid))
        return error_set(err, ERROR_INVALID, "\"%s\" is no UUID", uuid);
    if (!read_mark(hv, uuid, &held, err))
        return err->code == ERROR_NOT_FOUND;
    if (!xen_domain_find(hv, uuid, &domain, err))
        return err->code == ERROR_NOT_FOUND && xen_hold_forget(hv, uuid, err);
    if (domain.id == held && domain.is_paused) {
        xen_begin();
        int rc = libxl_domain_unpause(hv->main.ctx, domain.id, NULL);
        if (rc)
            return xen_failed(rc, err, "unpausing domain %s", uuid);
    }
    return xen_hold_forget(hv, uuid, err);
}
