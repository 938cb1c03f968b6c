/* The checks; see preflight.h. What concerns the VM alone is checked once, what concerns a host for
 * each candidate. */
#include "coordinator/domain/preflight.h"

#include "base/json_table.h"
#include "base/memory.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const blocker_code_names[] = {
#define BLOCKER(symbol, code) [BLOCKER_##symbol] = code,
    BLOCKER_LIST(BLOCKER)
#undef BLOCKER
        NULL,
};

const struct json_field blocker_fields[] = {
    JSON_ENUM("code", blocker, code, blocker_code_names, true),
    JSON_CHARS("object", blocker, object, 1, true),
    JSON_CHARS("message", blocker, message, 1, true),
    JSON_CHARS("needed", blocker, needed, 0, true),
    JSON_CHARS("available", blocker, available, 0, true),
    JSON_CHARS("fix", blocker, fix, 1, true),
    {0},
};

struct list {
    struct blocker *items;
    size_t count;
};

/* Appends one; object, message and fix are filled by the calls behind it. */
static struct blocker *add(struct list *list, enum blocker_code code, const char *kind,
                           const char *name)
{
    list->items = memory_resize(list->items, list->count + 1, sizeof *list->items);
    struct blocker *blocker = &list->items[list->count++];
    *blocker = (struct blocker){.code = code};
    snprintf(blocker->object, sizeof blocker->object, "%s %s", kind, name);
    return blocker;
}

__attribute__((format(printf, 2, 3))) static void say(struct blocker *blocker, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(blocker->message, sizeof blocker->message, fmt, args);
    va_end(args);
}

__attribute__((format(printf, 2, 3))) static void fix(struct blocker *blocker, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(blocker->fix, sizeof blocker->fix, fmt, args);
    va_end(args);
}

static void compare_text(struct blocker *blocker, const char *needed, const char *available)
{
    snprintf(blocker->needed, sizeof blocker->needed, "%s", needed);
    snprintf(blocker->available, sizeof blocker->available, "%s", available);
}

static void compare_bytes(struct blocker *blocker, uint64_t needed, uint64_t available)
{
    snprintf(blocker->needed, sizeof blocker->needed, "%" PRIu64 " bytes", needed);
    snprintf(blocker->available, sizeof blocker->available, "%" PRIu64 " bytes", available);
}

uint64_t preflight_room(enum image_format format, uint64_t size_bytes)
{
    return format == IMAGE_RAW ? size_bytes : size_bytes + size_bytes / 4096 + (1 << 20);
}

/* ---- the VM alone ---- */

static void check_vm(const struct preflight_input *in, struct list *list)
{
    if (!in->vm_exists) {
        struct blocker *b = add(list, BLOCKER_VM_NOT_FOUND, "vm", in->vm);
        say(b, "no host reports VM %s any more", in->vm);
        fix(b, "name a VM from GET /v1/vms");
        return;
    }
    if (in->state != DOMAIN_RUNNING) {
        struct blocker *b = add(list, BLOCKER_VM_NOT_RUNNING, "vm", in->vm_name);
        say(b, "VM %.80s is %s, and only running VMs can move live", in->vm_name,
            domain_state_names[in->state]);
        compare_text(b, domain_state_names[DOMAIN_RUNNING], domain_state_names[in->state]);
        fix(b, in->state == DOMAIN_PAUSED ? "unpause the VM" : "start the VM");
    }
    if (in->active_migration[0]) {
        struct blocker *b = add(list, BLOCKER_VM_MIGRATING, "vm", in->vm_name);
        say(b, "VM %.80s is being moved by migration %s", in->vm_name, in->active_migration);
        fix(b, "wait for migration %s to end, or cancel it", in->active_migration);
    }
}

static void check_disk(const struct preflight_input *in, const struct preflight_disk *disk,
                       struct list *list)
{
    if (!disk->is_movable) {
        struct blocker *b = add(list, BLOCKER_DISK_NOT_MOVABLE, "disk", disk->device);
        say(b, "disk %s cannot be moved: %s", disk->device,
            disk->why_not[0] ? disk->why_not : "its host gives no reason");
        fix(b, "detach disk %s, or mend the reason at host %.80s", disk->device, in->source.name);
        return;
    }
    if (!disk->sr[0]) {
        struct blocker *b = add(list, BLOCKER_DISK_WITHOUT_SR, "disk", disk->device);
        say(b, "VDI %s of disk %s is on no SR that host %.80s reports", disk->vdi, disk->device,
            in->source.name);
        fix(b, "move the image of %s into an SR of host %.80s", disk->device, in->source.name);
        return;
    }
    if (!mapping_sr_of(&in->mapping, disk->device, disk->sr, disk->sr_name)) {
        struct blocker *b = add(list, BLOCKER_SR_NOT_MAPPED, "disk", disk->device);
        say(b, "disk %s is on SR %.80s, and the mapping does not say where that goes", disk->device,
            disk->sr_name);
        compare_text(b, "an SR of the destination", "no entry");
        fix(b, "add mapping.srs[\"%.64s\"] or mapping.disks[\"%s\"].sr", disk->sr_name,
            disk->device);
    }
}

static void check_vif(const struct preflight_input *in, const struct preflight_vif *vif,
                      struct list *list)
{
    if (mapping_network_of(&in->mapping, vif->mac, vif->network))
        return;
    if (!vif->network[0]) {
        struct blocker *b = add(list, BLOCKER_VIF_WITHOUT_NETWORK, "vif", vif->mac);
        say(b, "VIF %s is on a bridge that is no network of host %.80s", vif->mac, in->source.name);
        fix(b, "add mapping.vifs[\"%s\"], or name the bridge in the agent's networks", vif->mac);
        return;
    }
    struct blocker *b = add(list, BLOCKER_NETWORK_NOT_MAPPED, "vif", vif->mac);
    say(b, "VIF %s is on network %.80s, and the mapping does not say where that goes", vif->mac,
        vif->network);
    compare_text(b, "a network of the destination", "no entry");
    fix(b, "add mapping.networks[\"%.64s\"] or mapping.vifs[\"%s\"]", vif->network, vif->mac);
}

static bool has_disk(const struct preflight_input *in, const char *device)
{
    for (size_t i = 0; i < in->disk_count; i++) {
        if (strcmp(in->disks[i].device, device) == 0)
            return true;
    }
    return false;
}

static bool has_vif(const struct preflight_input *in, const char *mac)
{
    for (size_t i = 0; i < in->vif_count; i++) {
        if (strcmp(in->vifs[i].mac, mac) == 0)
            return true;
    }
    return false;
}

/* Overrides that the request itself names must mean something. */
static void check_request(const struct preflight_input *in, struct list *list)
{
    const struct mapping_disk *disks = in->request.disks.items;
    for (size_t i = 0; i < in->request.disks.count; i++) {
        if (has_disk(in, disks[i].device))
            continue;
        struct blocker *b = add(list, BLOCKER_UNKNOWN_DISK, "disk", disks[i].device);
        say(b, "the mapping names disk %s, which VM %.80s does not have", disks[i].device,
            in->vm_name);
        fix(b, "remove mapping.disks[\"%s\"]", disks[i].device);
    }
    const struct json_pair *vifs = in->request.vifs.items;
    for (size_t i = 0; i < in->request.vifs.count; i++) {
        if (has_vif(in, vifs[i].key))
            continue;
        struct blocker *b = add(list, BLOCKER_UNKNOWN_VIF, "vif", vifs[i].key);
        say(b, "the mapping names VIF %.40s, which VM %.80s does not have", vifs[i].key,
            in->vm_name);
        fix(b, "remove mapping.vifs[\"%.40s\"]", vifs[i].key);
    }
}

static void check_source(const struct preflight_input *in, struct list *list)
{
    if (in->source.is_lost) {
        struct blocker *b = add(list, BLOCKER_HOST_LOST, "host", in->source.name);
        say(b, "the VM's host %.80s does not report", in->source.name);
        fix(b, "bring the agent of host %.80s back", in->source.name);
    }
    if (!in->source.link_address[0]) {
        struct blocker *b = add(list, BLOCKER_LINK_UNKNOWN, "host", in->source.name);
        say(b, "the link address of host %.80s is unknown", in->source.name);
        fix(b, "set \"link\" in the agent.json of host %.80s", in->source.name);
    }
}

/* ---- one candidate host ---- */

static void check_host_state(const struct preflight_input *in, const struct preflight_host *host,
                             struct list *list)
{
    if (!host->is_enabled) {
        struct blocker *b = add(list, BLOCKER_HOST_NOT_ENABLED, "host", host->name);
        say(b, "host %.80s is not enabled: it has no valid certificate", host->name);
        fix(b, "enrol host %.80s", host->name);
    }
    if (host->in_maintenance) {
        struct blocker *b = add(list, BLOCKER_HOST_IN_MAINTENANCE, "host", host->name);
        say(b, "host %.80s is in maintenance", host->name);
        fix(b, "end the maintenance of host %.80s, or name another host", host->name);
    }
    if (host->is_lost) {
        struct blocker *b = add(list, BLOCKER_HOST_LOST, "host", host->name);
        say(b, "host %.80s does not report", host->name);
        fix(b, "bring the agent of host %.80s back, or name another host", host->name);
    }
    if (!host->link_address[0]) {
        struct blocker *b = add(list, BLOCKER_LINK_UNKNOWN, "host", host->name);
        say(b, "the link address of host %.80s is unknown", host->name);
        fix(b, "set \"link\" in the agent.json of host %.80s", host->name);
    }
    if (host->is_not_clean) {
        struct blocker *b = add(list, BLOCKER_HOST_NOT_CLEAN, "host", host->name);
        say(b, "host %.80s has still to clean up an earlier migration of this VM", host->name);
        fix(b, "wait until that is done (GET /v1/leftovers), or name another host");
    }
    if (in->vm_exists && host->has_domain) {
        struct blocker *b = add(list, BLOCKER_DOMAIN_EXISTS, "host", host->name);
        say(b, "pool %.80s has another VM with the same domain UUID %s", in->pool_name, in->domain);
        fix(b, "remove that VM, or give it a UUID of its own");
    }
}

static void check_hypervisor(const struct preflight_input *in, const struct preflight_host *host,
                             struct list *list)
{
    const struct preflight_host *source = &in->source;
    if (strcmp(source->hypervisor, host->hypervisor) != 0 ||
        strcmp(source->accelerator, host->accelerator) != 0) {
        struct blocker *b = add(list, BLOCKER_HYPERVISOR_DIFFERS, "host", host->name);
        char needed[40];
        char available[40];
        snprintf(needed, sizeof needed, "%s/%s", source->hypervisor, source->accelerator);
        snprintf(available, sizeof available, "%s/%s", host->hypervisor, host->accelerator);
        say(b, "host %.80s runs %s, the VM's host %s", host->name, available, needed);
        compare_text(b, needed, available);
        fix(b, "name a host that runs %s", needed);
        return;
    }
    bool sees_cpu = strcmp(host->accelerator, "tcg") != 0;
    if (sees_cpu && strcmp(source->cpu_vendor, host->cpu_vendor) != 0) {
        struct blocker *b = add(list, BLOCKER_CPU_VENDOR_DIFFERS, "host", host->name);
        say(b, "host %.80s has CPUs of %s, and a running VM stays with %s", host->name,
            host->cpu_vendor, source->cpu_vendor);
        compare_text(b, source->cpu_vendor, host->cpu_vendor);
        fix(b, "name a host with CPUs of %s", source->cpu_vendor);
    }
}

static uint64_t left(uint64_t free_bytes, uint64_t reserved)
{
    return free_bytes > reserved ? free_bytes - reserved : 0;
}

static uint64_t memory_left(const struct preflight_host *host)
{
    return left(host->memory_free_bytes, host->memory_reserved_bytes);
}

static void check_memory(const struct preflight_input *in, const struct preflight_host *host,
                         struct list *list)
{
    if (in->memory_bytes <= memory_left(host))
        return;
    struct blocker *b = add(list, BLOCKER_MEMORY, "host", host->name);
    say(b,
        "VM %.64s does not fit into the memory of host %.64s (%" PRIu64
        " bytes are held for other moves)",
        in->vm_name, host->name, host->memory_reserved_bytes);
    compare_bytes(b, in->memory_bytes, memory_left(host));
    fix(b, "free memory on host %.80s, or name another host", host->name);
}

static const struct preflight_sr *find_sr(const struct preflight_host *host, const char *word)
{
    for (size_t i = 0; i < host->sr_count; i++) {
        if (strcmp(host->srs[i].id, word) == 0)
            return &host->srs[i];
    }
    for (size_t i = 0; i < host->sr_count; i++) {
        if (strcmp(host->srs[i].name, word) == 0)
            return &host->srs[i];
    }
    return NULL;
}

static bool has_network(const struct preflight_host *host, const char *name)
{
    for (size_t i = 0; i < host->network_count; i++) {
        if (strcmp(host->networks[i].name, name) == 0)
            return true;
    }
    return false;
}

/* The SR of this host where the disk goes; NULL when that is not known. */
static const struct preflight_sr *target_sr(const struct preflight_input *in,
                                            const struct preflight_host *host,
                                            const struct preflight_disk *disk)
{
    const char *word = mapping_sr_of(&in->mapping, disk->device, disk->sr, disk->sr_name);
    return word && disk->is_movable && disk->sr[0] ? find_sr(host, word) : NULL;
}

static void check_sr_room(const struct preflight_input *in, const struct preflight_host *host,
                          size_t index, struct list *list)
{
    const struct preflight_sr *sr = &host->srs[index];
    uint64_t needed = 0;
    for (size_t i = 0; i < in->disk_count; i++) {
        const struct preflight_disk *disk = &in->disks[i];
        if (target_sr(in, host, disk) == sr)
            needed += preflight_room(mapping_format_of(&in->mapping, disk->device, disk->format),
                                     disk->size_bytes);
    }
    if (needed <= left(sr->free_bytes, sr->reserved_bytes))
        return;
    struct blocker *b = add(list, BLOCKER_SR_ROOM, "sr", sr->name);
    say(b,
        "the disks do not fit into SR %.64s of host %.64s (%" PRIu64
        " bytes are held for other moves)",
        sr->name, host->name, sr->reserved_bytes);
    compare_bytes(b, needed, left(sr->free_bytes, sr->reserved_bytes));
    fix(b, "free space on SR %.80s, or map the disks to another SR", sr->name);
}

static void check_targets(const struct preflight_input *in, const struct preflight_host *host,
                          struct list *list)
{
    for (size_t i = 0; i < in->disk_count; i++) {
        const struct preflight_disk *disk = &in->disks[i];
        const char *word = mapping_sr_of(&in->mapping, disk->device, disk->sr, disk->sr_name);
        if (!word || !disk->is_movable || !disk->sr[0] || find_sr(host, word))
            continue;
        struct blocker *b = add(list, BLOCKER_SR_UNKNOWN, "disk", disk->device);
        say(b, "disk %s goes to SR %.64s, which host %.64s does not have", disk->device, word,
            host->name);
        fix(b, "map it to an SR of host %.80s (GET /v1/srs)", host->name);
    }
    for (size_t i = 0; i < host->sr_count; i++)
        check_sr_room(in, host, i, list);
    for (size_t i = 0; i < in->vif_count; i++) {
        const struct preflight_vif *vif = &in->vifs[i];
        const char *word = mapping_network_of(&in->mapping, vif->mac, vif->network);
        if (!word || has_network(host, word))
            continue;
        struct blocker *b = add(list, BLOCKER_NETWORK_UNKNOWN, "vif", vif->mac);
        say(b, "VIF %s goes to network %.64s, which host %.64s does not have", vif->mac, word,
            host->name);
        fix(b, "map it to a network of host %.80s (GET /v1/networks)", host->name);
    }
}

static bool is_source(const struct preflight_input *in, const struct preflight_host *host)
{
    return strcmp(in->source.id, host->id) == 0;
}

static void check_host(const struct preflight_input *in, const struct preflight_host *host,
                       struct list *list)
{
    if (in->vm_exists && is_source(in, host)) {
        struct blocker *b = add(list, BLOCKER_SAME_HOST, "host", host->name);
        say(b, "VM %.80s is on host %.80s already", in->vm_name, host->name);
        fix(b, "name another host");
        return;
    }
    check_host_state(in, host, list);
    if (!in->vm_exists)
        return;
    if (host->hypervisor[0]) {
        check_hypervisor(in, host, list);
        check_memory(in, host, list);
        check_targets(in, host, list);
    } else if (!host->is_lost) {
        struct blocker *b = add(list, BLOCKER_HOST_LOST, "host", host->name);
        say(b, "host %.80s has not reported its inventory yet", host->name);
        fix(b, "start the agent of host %.80s", host->name);
    }
}

/* ---- choosing ---- */

static bool is_better(size_t blockers, const struct preflight_host *host, size_t best_blockers,
                      const struct preflight_host *best)
{
    if (!best || blockers != best_blockers)
        return !best || blockers < best_blockers;
    return memory_left(host) > memory_left(best);
}

/* The host with the fewest blockers, and of these the most free memory. */
static const struct preflight_host *choose(const struct preflight_input *in, struct list *blockers)
{
    const struct preflight_host *best = NULL;
    for (size_t i = 0; i < in->host_count; i++) {
        const struct preflight_host *host = &in->hosts[i];
        if (!in->is_host_named && is_source(in, host))
            continue;
        struct list found = {0};
        check_host(in, host, &found);
        if (is_better(found.count, host, blockers->count, best)) {
            best = host;
            free(blockers->items);
            *blockers = found;
        } else {
            free(found.items);
        }
    }
    return best;
}

static void add_no_host(const struct preflight_input *in, const struct preflight_host *best,
                        struct list *list)
{
    struct blocker *b = add(list, BLOCKER_NO_HOST_FITS, "pool", in->pool_name);
    if (best)
        say(b,
            "no host of pool %.64s can take the VM; the nearest is %.64s, with the blockers listed "
            "here",
            in->pool_name, best->name);
    else
        say(b, "pool %.80s has no other host", in->pool_name);
    fix(b, "mend what is listed, or name another pool");
}

static void append(struct list *list, const struct list *more)
{
    list->items = memory_resize(list->items, list->count + more->count, sizeof *list->items);
    if (more->count)
        memcpy(list->items + list->count, more->items, more->count * sizeof *list->items);
    list->count += more->count;
}

static void check_destination(const struct preflight_input *in, struct list *list,
                              struct preflight_result *result)
{
    struct list found = {0};
    result->host = choose(in, &found);
    if (!in->is_host_named && (!result->host || found.count))
        add_no_host(in, result->host, list);
    append(list, &found);
    free(found.items);
}

static void plan(const struct preflight_input *in, struct preflight_result *result)
{
    result->disks = memory_array(in->disk_count, sizeof *result->disks);
    for (size_t i = 0; i < in->disk_count; i++) {
        const struct preflight_disk *disk = &in->disks[i];
        struct spec_disk *out = &result->disks[i];
        out->size_bytes = disk->size_bytes;
        out->source.format = disk->format;
        out->destination.format = mapping_format_of(&in->mapping, disk->device, disk->format);
        memcpy(out->device, disk->device, sizeof out->device);
        memcpy(out->source.sr, disk->sr, UUID_SIZE);
        memcpy(out->source.vdi, disk->vdi, UUID_SIZE);
        memcpy(out->destination.sr, target_sr(in, result->host, disk)->id, UUID_SIZE);
    }
    result->vifs = memory_array(in->vif_count, sizeof *result->vifs);
    for (size_t i = 0; i < in->vif_count; i++) {
        const struct preflight_vif *vif = &in->vifs[i];
        struct spec_vif *out = &result->vifs[i];
        memcpy(out->mac, vif->mac, sizeof out->mac);
        memcpy(out->source_network, vif->network, sizeof out->source_network);
        snprintf(out->destination_network, sizeof out->destination_network, "%s",
                 mapping_network_of(&in->mapping, vif->mac, vif->network));
    }
}

void preflight_check(const struct preflight_input *in, struct preflight_result *result)
{
    *result = (struct preflight_result){0};
    struct list list = {0};
    check_vm(in, &list);
    if (in->vm_exists) {
        for (size_t i = 0; i < in->disk_count; i++)
            check_disk(in, &in->disks[i], &list);
        for (size_t i = 0; i < in->vif_count; i++)
            check_vif(in, &in->vifs[i], &list);
        check_request(in, &list);
        check_source(in, &list);
    }
    check_destination(in, &list, result);
    for (size_t i = 0; i < in->disk_count; i++) {
        result->disk_bytes += in->disks[i].size_bytes;
        result->allocated_bytes += in->disks[i].allocated_bytes;
    }
    result->blockers = list.items;
    result->count = list.count;
    if (list.count == 0)
        plan(in, result);
}

void preflight_result_done(struct preflight_result *result)
{
    free(result->blockers);
    free(result->disks);
    free(result->vifs);
    *result = (struct preflight_result){0};
}

bool preflight_may_wait(const struct preflight_result *result)
{
    for (size_t i = 0; i < result->count; i++) {
        enum blocker_code code = result->blockers[i].code;
        if (code != BLOCKER_HOST_LOST && code != BLOCKER_HOST_NOT_CLEAN &&
            code != BLOCKER_NO_HOST_FITS)
            return false;
    }
    return true;
}

void preflight_input_done(struct preflight_input *in)
{
    for (size_t i = 0; i < in->host_count; i++) {
        free(in->hosts[i].srs);
        free(in->hosts[i].networks);
    }
    free(in->hosts);
    free(in->source.srs);
    free(in->source.networks);
    free(in->disks);
    free(in->vifs);
    mapping_done(&in->mapping);
    mapping_done(&in->request);
    *in = (struct preflight_input){0};
}
