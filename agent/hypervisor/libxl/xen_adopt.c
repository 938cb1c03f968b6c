/* The entries of a domain that moves; see xen_adopt.h. */
#include "agent/hypervisor/libxl/xen_adopt.h"

#include "agent/hypervisor/libxl/xen_arrival.h"
#include "agent/hypervisor/libxl/xen_autostart.h"
#include "agent/hypervisor/libxl/xen_cfg.h"
#include "agent/hypervisor/libxl/xen_config.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/memory.h"

#include <errno.h>
#include <libxlutil.h>
#include <string.h>

static const char auto_folder[] = "/etc/xen/auto";
static const char moved_folder[] = "/etc/xen/auto-moved";
static const char libvirt_folder[] = "/etc/libvirt/libxl/autostart";
static const char libvirt_moved_folder[] = "/etc/libvirt/libxl/autostart-moved";

/* By xl's own parser, which names the line. What it complains of there is not told: it may be a
 * password. */
static bool check_syntax(const char *text, struct error *err)
{
    static const char digits[] = "0123456789";
    auto_free char *report = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&report, &size);
    XLU_Config *config = file ? xlu_cfg_init(file, "line") : NULL;
    int rc = config ? xlu_cfg_readdata(config, text, (int)strlen(text)) : ENOMEM;
    if (config)
        xlu_cfg_destroy(config);
    if (file)
        fclose(file);
    if (rc == 0)
        return true;
    const char *line = report ? report + strcspn(report, digits) : "";
    return error_set(err, ERROR_INVALID, "xl cannot read it, line %.*s", (int)strspn(line, digits),
                     line);
}

static bool collect(const char *uuid, const char *config, char **text, struct error *err)
{
    auto_xen_config struct xen_config read = {0};
    auto_free char *found = NULL;
    if (!xen_config_parse(config, &read, err) ||
        !xen_autostart_find(auto_folder, uuid, read.name, &found, err) ||
        (found && !check_syntax(found, err)))
        return false;
    *text = take(found);
    return true;
}

char *xen_adopt_collect(const char *uuid, const char *config)
{
    char *text = NULL;
    struct error err;
    if (!collect(uuid, config, &text, &err))
        log_warning("domain %s: what starts it at boot (%s) does not go along: %s", uuid,
                    auto_folder, err.text);
    return text;
}

static bool prepare(struct hypervisor *hv, const char *uuid, const char *text, const char *config,
                    struct error *err)
{
    auto_xen_config struct xen_config read = {0};
    auto_free char *composed = NULL;
    if (!hv->arrivals)
        return error_set(err, ERROR_INVALID, "libxl: state_directory is missing");
    if (strlen(text) > XEN_AUTOSTART_LIMIT)
        return error_set(err, ERROR_INVALID, "more than %d bytes", XEN_AUTOSTART_LIMIT);
    if (!xen_config_parse(config, &read, err) || !xen_cfg_compose(text, config, &composed, err) ||
        !check_syntax(composed, err))
        return false;
    struct xen_arrival arrival = {.name = read.name, .text = composed};
    memcpy(arrival.uuid, uuid, sizeof arrival.uuid);
    return xen_arrival_write(hv->arrivals, &arrival, err);
}

void xen_adopt_prepare(struct hypervisor *hv, const char *uuid, const char *text,
                       const char *config)
{
    struct error err;
    if (!prepare(hv, uuid, text, config, &err))
        log_warning("domain %s: this host will not start it at boot, as its source did: %s", uuid,
                    err.text);
}

bool xen_adopt_forget(struct hypervisor *hv, const char *uuid, struct error *err)
{
    return !hv->arrivals || xen_arrival_remove(hv->arrivals, uuid, err);
}

/* False with ERROR_NOT_FOUND when nothing waits. */
static bool place(struct hypervisor *hv, const char *uuid, struct error *err)
{
    auto_xen_arrival struct xen_arrival arrival = {0};
    auto_free char *entry = NULL;
    if (!xen_arrival_read(hv->arrivals, uuid, &arrival, err) ||
        !xen_arrival_place(&arrival, auto_folder, moved_folder, &entry, err))
        return false;
    log_info("domain %s: this host starts it at boot, as its source did: %s", uuid, entry);
    return xen_arrival_remove(hv->arrivals, uuid, err);
}

void xen_adopt(struct hypervisor *hv, const char *uuid)
{
    struct error err;
    if (hv->arrivals && !place(hv, uuid, &err) && err.code != ERROR_NOT_FOUND)
        log_error("domain %s: this host may not start it at boot, as its source did: %s", uuid,
                  err.text);
}

static void leave(const char *from, const char *to, const char *uuid, const char *name)
{
    int moved = 0;
    struct error err;
    if (!xen_autostart_move(from, to, uuid, name, &moved, &err))
        log_error("domain %s has moved, but this host may start it at its next boot: %s", uuid,
                  err.text);
    else if (moved > 0)
        log_info("domain %s has moved: what started it at boot is now in %s", uuid, to);
}

/* xendomains or libvirt would start it here again at the host's next boot. */
void xen_adopt_leave(struct hypervisor *hv, const char *uuid, const char *name)
{
    (void)hv;
    leave(auto_folder, moved_folder, uuid, name);
    leave(libvirt_folder, libvirt_moved_folder, uuid, name);
}
