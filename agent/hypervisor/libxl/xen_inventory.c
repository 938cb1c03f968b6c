/* Facts, domains and attach points; see xen_inventory.h. */
#include "agent/hypervisor/libxl/xen_inventory.h"

#include "agent/hypervisor/libxl/xen_cpu.h"
#include "agent/hypervisor/libxl/xen_disk.h"
#include "agent/hypervisor/libxl/xen_domain.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/memory.h"

#include <libxl_utils.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* -- the host */

/* The control domain sees the host's real vendor and model. */
static void read_cpu(const char *name, char *out, size_t size)
{
    auto_fclose FILE *file = fopen("/proc/cpuinfo", "re");
    char line[512];
    while (file && fgets(line, sizeof line, file)) {
        const char *colon = strchr(line, ':');
        if (strncmp(line, name, strlen(name)) != 0 || !colon)
            continue;
        const char *value = colon + 1 + strspn(colon + 1, " \t");
        snprintf(out, size, "%.*s", (int)strcspn(value, "\n"), value);
        return;
    }
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* The limit for all domains together, less what the present ones have. */
static bool apply_limit(struct hypervisor *hv, struct host_facts *facts, struct error *err)
{
    auto_free struct xen_domain *domains = NULL;
    size_t count;
    if (!xen_domain_list(hv, &domains, &count, err))
        return false;
    uint64_t left = hv->memory_limit_bytes;
    for (size_t i = 0; i < count; i++)
        left -= smaller(left, domains[i].memory_bytes);
    facts->memory_bytes = smaller(facts->memory_bytes, hv->memory_limit_bytes);
    facts->memory_free_bytes = smaller(facts->memory_free_bytes, left);
    return true;
}

bool xen_inventory_facts(struct hypervisor *hv, struct host_facts *out, struct error *err)
{
    struct host_facts facts = {.accelerator = "xen"};
    libxl_physinfo info;
    libxl_physinfo_init(&info);
    xen_begin();
    int rc = libxl_get_physinfo(hv->main.ctx, &info);
    if (rc)
        return xen_failed(rc, err, "the host's resources");
    snprintf(facts.version, sizeof facts.version, "%s", hv->version);
    read_cpu("vendor_id", facts.cpu_vendor, sizeof facts.cpu_vendor);
    read_cpu("model name", facts.cpu_model, sizeof facts.cpu_model);
    facts.cpus = (int)info.nr_cpus;
    facts.guest_type_count = hv->type_count;
    memcpy(facts.guest_types, hv->types, sizeof facts.guest_types);
    facts.memory_bytes = info.total_pages * hv->page_bytes;
    facts.memory_free_bytes = info.free_pages * hv->page_bytes;
    libxl_physinfo_dispose(&info);
    if (hv->memory_limit_bytes && !apply_limit(hv, &facts, err))
        return false;
    *out = facts;
    return true;
}

/* -- the domains */

static bool has_block_monitor(uint32_t id)
{
    char path[XEN_SOCKET_SIZE];
    xen_disk_block_socket(id, path);
    return access(path, F_OK) == 0;
}

static void describe_disk(const struct xen_domain *domain, const struct xen_disk *from,
                          struct domain_disk *to)
{
    struct error why;
    snprintf(to->device, sizeof to->device, "%s", from->device);
    to->path = memory_copy_text(from->path);
    bool has_format = xen_disk_format(from, &to->format);
    bool has_size = xen_disk_size(from, &to->size_bytes, &why);
    const char *refusal = xen_disk_refusal(from);
    if (!refusal && !has_size)
        refusal = why.text;
    else if (!refusal && (!has_format || !has_block_monitor(domain->id)))
        refusal = "its domain has no monitor of QEMU for others";
    else if (!refusal && xen_domain_has_lost_qemu(domain->id))
        refusal = "the QEMU that serves it has ended";
    if (refusal)
        snprintf(to->why_not, sizeof to->why_not, "%.*s", (int)sizeof to->why_not - 1, refusal);
}

static void describe_parts(const struct xen_domain *from, const struct xen_config *config,
                           struct domain *to)
{
    to->disks = memory_array(config->disk_count, sizeof *to->disks);
    for (size_t i = 0; i < config->disk_count; i++)
        if (config->disks[i].path) /* an empty drive is no disk */
            describe_disk(from, &config->disks[i], &to->disks[to->disk_count++]);
    to->vif_count = config->vif_count;
    to->vifs = memory_array(config->vif_count, sizeof *to->vifs);
    for (size_t i = 0; i < config->vif_count; i++) {
        memcpy(to->vifs[i].mac, config->vifs[i].mac, sizeof to->vifs[i].mac);
        to->vifs[i].bridge = memory_copy_text(config->vifs[i].bridge);
    }
}

/* What cannot be compared is not to be moved: at the other host it would die. */
static void describe_cpu(struct hypervisor *hv, const struct xen_domain *from, struct domain *to)
{
    struct cpu_features features;
    struct error why;
    if (xen_cpu_of_domain(hv, from->id, &features, &why)) {
        auto_free char *text = cpu_features_encode(&features);
        snprintf(to->features, sizeof to->features, "%s", text);
    } else if (!to->why_not[0]) {
        snprintf(to->why_not, sizeof to->why_not, "%.*s", (int)sizeof to->why_not - 1, why.text);
    }
}

/* A domain has no configuration while it is built or destroyed, and is paused then. That a QEMU
 * runs in a domain of its own is said of its guest. */
static bool describe_unread(struct hypervisor *hv, const struct xen_domain *from,
                            const struct error *why, struct domain *out)
{
    uint32_t guest;
    if (from->is_paused || libxl_is_stubdom(hv->main.ctx, from->id, &guest)) {
        log_debug("domain %s is left out: %s", from->uuid, why->text);
        return false;
    }
    char *name = libxl_domid_to_name(hv->main.ctx, from->id);
    *out = (struct domain){.state = from->state,
                           .memory_bytes = from->memory_bytes,
                           .vcpus = 1,
                           .name = name ? name : memory_copy_text(from->uuid)};
    memcpy(out->uuid, from->uuid, sizeof out->uuid);
    snprintf(out->type, sizeof out->type, "%s", xen_type_names[from->type]);
    snprintf(out->why_not, sizeof out->why_not, "libxl cannot describe it: %.130s", why->text);
    return true;
}

static bool describe(struct hypervisor *hv, const struct xen_domain *from, struct domain *out)
{
    auto_xen_config struct xen_config config = {0};
    auto_free char *text = NULL;
    struct error why;
    if (!xen_domain_stored_config(hv, from->id, &text, &why) ||
        !xen_config_parse(text, &config, &why))
        return describe_unread(hv, from, &why, out);
    *out = (struct domain){.state = from->state,
                           .memory_bytes = from->memory_bytes,
                           .vcpus = config.vcpus,
                           .name = take(config.name)};
    memcpy(out->uuid, from->uuid, sizeof out->uuid);
    snprintf(out->type, sizeof out->type, "%s", xen_type_names[config.type]);
    snprintf(out->why_not, sizeof out->why_not, "%s", config.why_not ? config.why_not : "");
    describe_cpu(hv, from, out);
    describe_parts(from, &config, out);
    return true;
}

static bool has_domain(const struct domain_list *list, const char *uuid)
{
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->items[i].uuid, uuid) == 0)
            return true;
    return false;
}

static bool describe_restarting(struct hypervisor *hv, const char *uuid, struct domain *out)
{
    static const struct xen_domain nowhere = {0};
    auto_xen_restart struct xen_restart restart = {0};
    auto_xen_config struct xen_config config = {0};
    struct error why;
    if (!xen_restart_read(hv->restarts, uuid, &restart, &why) ||
        strcmp(restart.boot, hv->boot) != 0 || !xen_config_parse(restart.config, &config, &why))
        return false;
    *out = (struct domain){.state = DOMAIN_HALTED,
                           .memory_bytes = restart.memory_bytes,
                           .vcpus = config.vcpus,
                           .name = take(config.name),
                           .why_not = "its guest is being started"};
    memcpy(out->uuid, uuid, sizeof out->uuid);
    snprintf(out->type, sizeof out->type, "%s", xen_type_names[config.type]);
    describe_parts(&nowhere, &config, out);
    return true;
}

/* Guests between an old domain and a new one: VMs of this host all the same, whose images are in
 * use. */
static void list_restarting(struct hypervisor *hv, struct domain_list *out)
{
    auto_free char(*uuids)[UUID_SIZE] = NULL;
    size_t count = 0;
    struct error why;
    if (!hv->restarts || !xen_restart_list(hv->restarts, &uuids, &count, &why))
        return;
    out->items = memory_array(count + 1, sizeof *out->items);
    for (size_t i = 0; i < count; i++)
        if (describe_restarting(hv, uuids[i], &out->items[out->count]))
            out->count++;
}

static void take_absent(struct domain_list *list, struct domain_list *restarting)
{
    list->items =
        memory_resize(list->items, list->count + restarting->count + 1, sizeof *list->items);
    for (size_t i = 0; i < restarting->count && list->count < LIMIT_DOMAINS; i++) {
        struct domain *domain = &restarting->items[i];
        if (has_domain(list, domain->uuid))
            continue;
        list->items[list->count++] = *domain;
        *domain = (struct domain){0};
    }
}

/* The restarts before the domains: one that ends in between is then seen as the new domain. */
bool xen_inventory_list(struct hypervisor *hv, struct domain_list *out, struct error *err)
{
    __attribute__((cleanup(domain_list_done))) struct domain_list restarting = {0};
    auto_free struct xen_domain *domains = NULL;
    size_t count;
    list_restarting(hv, &restarting);
    if (!xen_domain_list(hv, &domains, &count, err))
        return false;
    struct domain_list list = {.items = memory_array(count + 1, sizeof *list.items)};
    for (size_t i = 0; i < count && list.count < LIMIT_DOMAINS; i++)
        if (describe(hv, &domains[i], &list.items[list.count]))
            list.count++;
    take_absent(&list, &restarting);
    *out = list;
    return true;
}

/* -- one disk */

/* A guest that uses the emulated disk instead of xen-block writes past the node that we mirror. */
static bool check_frontend(struct hypervisor *hv, uint32_t id, const char *device,
                           struct error *err)
{
    enum { XENBUS_CONNECTED = 4 };
    libxl_device_disk disk;
    libxl_diskinfo info;
    libxl_device_disk_init(&disk);
    libxl_diskinfo_init(&info);
    xen_begin();
    int rc = libxl_vdev_to_device_disk(hv->main.ctx, id, device, &disk);
    if (!rc)
        rc = libxl_device_disk_getinfo(hv->main.ctx, id, &disk, &info);
    int state = info.state;
    libxl_diskinfo_dispose(&info);
    libxl_device_disk_dispose(&disk);
    if (rc)
        return xen_failed(rc, err, "disk %s", device);
    return state == XENBUS_CONNECTED ||
           error_set(err, ERROR_CONFLICT,
                     "disk %s: the guest does not use it through its paravirtual driver", device);
}

static bool find_disk(const struct xen_config *config, const char *device,
                      const struct xen_disk **out, struct error *err)
{
    const struct xen_disk *disk = xen_config_disk(config, device);
    if (!disk)
        return error_set(err, ERROR_NOT_FOUND, "domain %s has no disk %s", config->uuid, device);
    const char *refusal = xen_disk_refusal(disk);
    if (refusal)
        return error_set(err, ERROR_UNSUPPORTED, "disk %s cannot be mirrored: %s", device, refusal);
    *out = disk;
    return true;
}

bool xen_inventory_attach(struct hypervisor *hv, const char *uuid, const char *device,
                          struct disk_attach *out, struct error *err)
{
    auto_xen_config struct xen_config config = {0};
    auto_free char *text = NULL;
    struct xen_domain domain;
    const struct xen_disk *disk;
    struct disk_attach attach = {0};
    if (!xen_domain_find(hv, uuid, &domain, err) ||
        !xen_domain_stored_config(hv, domain.id, &text, err) ||
        !xen_config_parse(text, &config, err) || !find_disk(&config, device, &disk, err) ||
        !xen_disk_size(disk, &attach.size_bytes, err) ||
        !check_frontend(hv, domain.id, device, err))
        return false;
    if (!has_block_monitor(domain.id))
        return error_set(err, ERROR_UNSUPPORTED, "domain %s has no monitor of QEMU", uuid);
    char path[XEN_SOCKET_SIZE];
    xen_disk_block_socket(domain.id, path);
    snprintf(attach.qmp_path, sizeof attach.qmp_path, "%s", path);
    xen_disk_node(disk, attach.node);
    snprintf(attach.reader_path, sizeof attach.reader_path, "%s", disk->path);
    bool has_format = xen_disk_format(disk, &attach.format);
    attach.reader = has_format && attach.format == IMAGE_RAW ? READER_FILE : READER_QEMU_NBD;
    *out = attach;
    return true;
}
