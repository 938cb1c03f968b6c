/* What concerns one host as the destination. */
#include "coordinator/domain/preflight_parts.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void preflight_check_link(const struct preflight_input *in, const struct preflight_host *host,
                          struct blocker_list *list)
{
    if (host->link_address[0])
        return;
    if (!in->network[0]) {
        struct blocker *b = blocker_add(list, BLOCKER_LINK_UNKNOWN, "host", host->name);
        blocker_say(b, "the link address of host %.80s is unknown", host->name);
        blocker_fix(b, "set \"link\" in the agent.json of host %.80s", host->name);
        return;
    }
    struct blocker *b = blocker_add(list, BLOCKER_TRANSFER_NETWORK_UNKNOWN, "host", host->name);
    blocker_say(b, "host %.80s has no link on transfer network %.80s", host->name, in->network);
    blocker_compare(b, in->network, "no entry");
    blocker_fix(b, "add %.64s to \"links\" in the agent.json of host %.64s", in->network,
                host->name);
}

static void check_host_state(const struct preflight_input *in, const struct preflight_host *host,
                             struct blocker_list *list)
{
    if (!host->is_enabled) {
        struct blocker *b = blocker_add(list, BLOCKER_HOST_NOT_ENABLED, "host", host->name);
        blocker_say(b, "host %.80s is not enabled: it has no valid certificate", host->name);
        blocker_fix(b, "enrol host %.80s", host->name);
    }
    if (host->in_maintenance) {
        struct blocker *b = blocker_add(list, BLOCKER_HOST_IN_MAINTENANCE, "host", host->name);
        blocker_say(b, "host %.80s is in maintenance", host->name);
        blocker_fix(b, "end the maintenance of host %.80s, or name another host", host->name);
    }
    if (host->is_pool_in_maintenance) {
        struct blocker *b = blocker_add(list, BLOCKER_POOL_IN_MAINTENANCE, "pool", in->pool_name);
        blocker_say(b, "pool %.80s is in maintenance", in->pool_name);
        blocker_fix(b, "end the maintenance of pool %.80s, or name another pool", in->pool_name);
    }
    if (host->is_lost) {
        struct blocker *b = blocker_add(list, BLOCKER_HOST_LOST, "host", host->name);
        blocker_say(b, "host %.80s does not report", host->name);
        blocker_fix(b, "bring the agent of host %.80s back, or name another host", host->name);
    }
    preflight_check_link(in, host, list);
    if (host->is_not_clean) {
        struct blocker *b = blocker_add(list, BLOCKER_HOST_NOT_CLEAN, "host", host->name);
        blocker_say(b, "host %.80s has still to clean up an earlier migration of this VM",
                    host->name);
        blocker_fix(b, "wait until that is done (GET /v1/leftovers), or name another host");
    }
    if (in->vm_exists && host->has_domain) {
        struct blocker *b = blocker_add(list, BLOCKER_DOMAIN_EXISTS, "host", host->name);
        blocker_say(b, "pool %.80s has another VM with the same domain UUID %s", in->pool_name,
                    in->domain);
        blocker_fix(b, "remove that VM, or give it a UUID of its own");
    }
}

static uint64_t left(uint64_t free_bytes, uint64_t reserved)
{
    return free_bytes > reserved ? free_bytes - reserved : 0;
}

uint64_t preflight_memory_left(const struct preflight_host *host)
{
    return left(host->memory_free_bytes, host->memory_reserved_bytes);
}

static void check_memory(const struct preflight_input *in, const struct preflight_host *host,
                         struct blocker_list *list)
{
    if (in->memory_bytes <= preflight_memory_left(host))
        return;
    struct blocker *b = blocker_add(list, BLOCKER_MEMORY, "host", host->name);
    blocker_say(b,
                "VM %.64s does not fit into the memory of host %.64s (%" PRIu64
                " bytes are held for other moves)",
                in->vm_name, host->name, host->memory_reserved_bytes);
    blocker_compare_bytes(b, in->memory_bytes, preflight_memory_left(host));
    blocker_fix(b, "free memory on host %.80s, or name another host", host->name);
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

const struct preflight_sr *preflight_target_sr(const struct preflight_input *in,
                                               const struct preflight_host *host,
                                               const struct preflight_disk *disk)
{
    const char *word = mapping_sr_of(&in->mapping, disk->device, disk->sr, disk->sr_name);
    return word && disk->is_movable && disk->sr[0] ? find_sr(host, word) : NULL;
}

uint64_t preflight_sr_needed(const struct preflight_input *in, const struct preflight_host *host,
                             const struct preflight_sr *sr)
{
    uint64_t needed = 0;
    for (size_t i = 0; i < in->disk_count; i++) {
        const struct preflight_disk *disk = &in->disks[i];
        const struct preflight_sr *target = preflight_target_sr(in, host, disk);
        if (target && target == sr)
            needed += preflight_room(mapping_format_of(&in->mapping, disk->device, disk->format),
                                     disk->size_bytes);
    }
    return needed;
}

static void check_sr_room(const struct preflight_input *in, const struct preflight_host *host,
                          size_t index, struct blocker_list *list)
{
    const struct preflight_sr *sr = &host->srs[index];
    uint64_t needed = preflight_sr_needed(in, host, sr);
    if (needed <= left(sr->free_bytes, sr->reserved_bytes))
        return;
    struct blocker *b = blocker_add(list, BLOCKER_SR_ROOM, "sr", sr->name);
    blocker_say(b,
                "the disks do not fit into SR %.64s of host %.64s (%" PRIu64
                " bytes are held for other moves)",
                sr->name, host->name, sr->reserved_bytes);
    blocker_compare_bytes(b, needed, left(sr->free_bytes, sr->reserved_bytes));
    blocker_fix(b, "free space on SR %.80s, or map the disks to another SR", sr->name);
}

static void check_network(const struct preflight_input *in, const struct preflight_host *host,
                          const struct preflight_vif *vif, struct blocker_list *list)
{
    const char *word = preflight_network_word(in, vif);
    bool is_ambiguous = false;
    const struct preflight_network *network =
        word ? preflight_find_network(host, word, &is_ambiguous) : NULL;
    if (!word || (network && !network->why_not[0]))
        return;
    if (network) {
        struct blocker *b = blocker_add(list, BLOCKER_NETWORK_NOT_USABLE, "vif", vif->mac);
        blocker_say(b, "VIF %s goes to network %.48s of host %.48s, which it cannot use: %.100s",
                    vif->mac, word, host->name, network->why_not);
        blocker_fix(b, "mend that at host %.80s, or map the VIF to another network", host->name);
        return;
    }
    if (is_ambiguous) {
        struct blocker *b = blocker_add(list, BLOCKER_NETWORK_AMBIGUOUS, "vif", vif->mac);
        blocker_say(b, "VIF %s goes to %.64s, and host %.64s has more than one network of it",
                    vif->mac, word, host->name);
        blocker_fix(b, "map it to a network of host %.80s by name or id (GET /v1/networks)",
                    host->name);
        return;
    }
    struct blocker *b = blocker_add(list, BLOCKER_NETWORK_UNKNOWN, "vif", vif->mac);
    blocker_say(b, "VIF %s goes to network %.64s, which host %.64s does not have", vif->mac, word,
                host->name);
    blocker_fix(b, "map it to a network of host %.80s (GET /v1/networks)", host->name);
}

static void check_vcpus(const struct preflight_input *in, const struct preflight_host *host,
                        struct blocker_list *list)
{
    if (host->cpus == 0 || in->vcpus <= host->cpus)
        return;
    struct blocker *b = blocker_add(list, BLOCKER_VCPUS, "host", host->name);
    char needed[24];
    char available[24];
    snprintf(needed, sizeof needed, "%d", in->vcpus);
    snprintf(available, sizeof available, "%d", host->cpus);
    blocker_say(b, "VM %.64s has %d vCPUs, more than host %.64s has CPUs (%d)", in->vm_name,
                in->vcpus, host->name, host->cpus);
    blocker_compare(b, needed, available);
    blocker_fix(b, "name a host with at least %d CPUs, or start the VM anew with fewer vCPUs",
                in->vcpus);
}

static void check_targets(const struct preflight_input *in, const struct preflight_host *host,
                          struct blocker_list *list)
{
    for (size_t i = 0; i < in->disk_count; i++) {
        const struct preflight_disk *disk = &in->disks[i];
        const char *word = mapping_sr_of(&in->mapping, disk->device, disk->sr, disk->sr_name);
        if (!word || !disk->is_movable || !disk->sr[0] || find_sr(host, word))
            continue;
        struct blocker *b = blocker_add(list, BLOCKER_SR_UNKNOWN, "disk", disk->device);
        blocker_say(b, "disk %s goes to SR %.64s, which host %.64s does not have", disk->device,
                    word, host->name);
        blocker_fix(b, "map it to an SR of host %.80s (GET /v1/srs)", host->name);
    }
    for (size_t i = 0; i < host->sr_count; i++)
        check_sr_room(in, host, i, list);
    for (size_t i = 0; i < in->vif_count; i++)
        check_network(in, host, &in->vifs[i], list);
}

bool preflight_is_source(const struct preflight_input *in, const struct preflight_host *host)
{
    return strcmp(in->source.id, host->id) == 0;
}

void preflight_check_host(const struct preflight_input *in, const struct preflight_host *host,
                          struct blocker_list *list)
{
    if (in->vm_exists && preflight_is_source(in, host)) {
        struct blocker *b = blocker_add(list, BLOCKER_SAME_HOST, "host", host->name);
        blocker_say(b, "VM %.80s is on host %.80s already", in->vm_name, host->name);
        blocker_fix(b, "name another host");
        return;
    }
    check_host_state(in, host, list);
    if (!in->vm_exists)
        return;
    if (host->hypervisor[0]) {
        preflight_check_hypervisor(in, host, list);
        check_memory(in, host, list);
        check_vcpus(in, host, list);
        check_targets(in, host, list);
    } else if (!host->is_lost) {
        struct blocker *b = blocker_add(list, BLOCKER_HOST_LOST, "host", host->name);
        blocker_say(b, "host %.80s has not reported its inventory yet", host->name);
        blocker_fix(b, "start the agent of host %.80s", host->name);
    }
}
