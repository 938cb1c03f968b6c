/* Builds the inventory; see inventory_builder.h. */
#include "agent/inventory/inventory_builder.h"

#include "agent/inventory/domain_owners.h"
#include "base/memory.h"
#include "base/utf8.h"

#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

static const char nil_uuid[] = "00000000-0000-0000-0000-000000000000";

static void copy(char *out, size_t size, const char *text)
{
    snprintf(out, size, "%.*s", (int)size - 1, text);
    utf8_repair(out);
}

static void add_guest_types(const struct host_facts *facts, struct inventory *out)
{
    size_t count = facts->guest_type_count;
    struct inventory_guest_type *items = memory_array(count, sizeof *items);
    memcpy(items, facts->guest_types, count * sizeof *items);
    out->guest_types = (struct json_array){.items = items, .count = count};
}

static bool add_facts(const struct inventory_source *source, struct inventory *out,
                      struct error *err)
{
    struct host_facts facts = {0};
    if (!source->driver->facts(source->hypervisor, &facts, err))
        return false;
    copy(out->hypervisor, sizeof out->hypervisor, source->driver->name);
    copy(out->accelerator, sizeof out->accelerator, facts.accelerator);
    copy(out->version, sizeof out->version, facts.version);
    copy(out->cpu_vendor, sizeof out->cpu_vendor, facts.cpu_vendor);
    copy(out->cpu_model, sizeof out->cpu_model, facts.cpu_model);
    out->cpus = facts.cpus;
    out->memory_bytes = facts.memory_bytes;
    out->memory_free_bytes = facts.memory_free_bytes;
    copy(out->link_address, sizeof out->link_address, source->link_address);
    out->link_port = source->link_port;
    add_guest_types(&facts, out);
    return true;
}

/* A bridge of Linux or of Open vSwitch: both are network interfaces of the host. */
static void judge_network(struct inventory_network *network)
{
    if (if_nametoindex(network->bridge) == 0)
        snprintf(network->why_not, sizeof network->why_not, "the host has no bridge %.100s",
                 network->bridge);
}

static void add_networks(const struct inventory_source *source, struct inventory *out)
{
    struct inventory_network *items = memory_array(source->network_count, sizeof *items);
    for (size_t i = 0; i < source->network_count; i++) {
        items[i] = source->networks[i];
        judge_network(&items[i]);
    }
    out->networks = (struct json_array){.items = items, .count = source->network_count};
}

static void add_links(const struct inventory_source *source, struct inventory *out)
{
    struct inventory_link *items = memory_array(source->link_count, sizeof *items);
    for (size_t i = 0; i < source->link_count; i++)
        items[i] = source->links[i];
    out->links = (struct json_array){.items = items, .count = source->link_count};
}

/* How many disks of all domains are at this path. */
static int count_users(const struct domain_list *domains, const char *path)
{
    int users = 0;
    for (size_t i = 0; i < domains->count; i++)
        for (size_t j = 0; j < domains->items[i].disk_count; j++)
            users += strcmp(domains->items[i].disks[j].path, path) == 0;
    return users;
}

static void judge_disk(const struct inventory_source *source, const struct domain_list *domains,
                       const struct domain_disk *disk, struct inventory_disk *out)
{
    char sr[UUID_SIZE];
    const char *why_not = "";
    bool is_in_sr = sr_set_identify(source->srs, disk->path, sr, out->vdi);
    if (!is_in_sr)
        copy(out->vdi, sizeof out->vdi, nil_uuid);
    if (disk->why_not[0]) {
        why_not = disk->why_not;
    } else if (access(disk->path, F_OK) != 0) { /* also one that a hypervisor still holds open */
        why_not = "its image is gone";
    } else if (!is_in_sr) {
        why_not = "its image is in none of the host's SRs";
    } else if (count_users(domains, disk->path) > 1) {
        why_not = "its image is used by more than one disk";
    }
    out->is_movable = !*why_not;
    copy(out->why_not, sizeof out->why_not, why_not);
}

static void add_disks(const struct inventory_source *source, const struct domain_list *domains,
                      const struct domain *domain, struct inventory_domain *out)
{
    size_t count = domain->disk_count;
    struct inventory_disk *items = memory_array(count, sizeof *items);
    for (size_t i = 0; i < count; i++) {
        const struct domain_disk *disk = &domain->disks[i];
        copy(items[i].device, sizeof items[i].device, disk->device);
        items[i].format = disk->format;
        items[i].size_bytes = disk->size_bytes;
        judge_disk(source, domains, disk, &items[i]);
    }
    out->disks = (struct json_array){.items = items, .count = count};
}

static const char *find_network(const struct inventory_source *source, const char *bridge)
{
    for (size_t i = 0; i < source->network_count; i++)
        if (strcmp(source->networks[i].bridge, bridge) == 0)
            return source->networks[i].name;
    return "";
}

static void add_vifs(const struct inventory_source *source, const struct domain *domain,
                     struct inventory_domain *out)
{
    size_t count = domain->vif_count;
    struct inventory_vif *items = memory_array(count, sizeof *items);
    for (size_t i = 0; i < count; i++) {
        copy(items[i].mac, sizeof items[i].mac, domain->vifs[i].mac);
        copy(items[i].network, sizeof items[i].network,
             find_network(source, domain->vifs[i].bridge));
    }
    out->vifs = (struct json_array){.items = items, .count = count};
}

/* Disks and VIFs are known by their device and their MAC: at both ends, in the maps and in the
 * database. */
static const char *find_double(const struct domain *domain, const char **what)
{
    *what = "disks are the device";
    for (size_t i = 0; i < domain->disk_count; i++)
        for (size_t j = 0; j < i; j++)
            if (strcmp(domain->disks[i].device, domain->disks[j].device) == 0)
                return domain->disks[i].device;
    *what = "VIFs have the MAC";
    for (size_t i = 0; i < domain->vif_count; i++)
        for (size_t j = 0; j < i; j++)
            if (strcasecmp(domain->vifs[i].mac, domain->vifs[j].mac) == 0)
                return domain->vifs[i].mac;
    return NULL;
}

static void judge_domain(const struct domain *domain, struct inventory_domain *out)
{
    const char *what;
    const char *name = find_double(domain, &what);
    copy(out->why_not, sizeof out->why_not, domain->why_not);
    if (!domain->why_not[0] && name)
        snprintf(out->why_not, sizeof out->why_not, "two of its %s %s", what, name);
}

static void add_domain(const struct inventory_source *source, const struct domain_list *domains,
                       const struct domain *domain, struct inventory_domain *out)
{
    copy(out->uuid, sizeof out->uuid, domain->uuid);
    copy(out->name, sizeof out->name, domain->name[0] ? domain->name : domain->uuid);
    out->state = domain->state;
    out->memory_bytes = domain->memory_bytes;
    out->vcpus = domain->vcpus;
    copy(out->type, sizeof out->type, domain->type);
    copy(out->features, sizeof out->features, domain->features);
    judge_domain(domain, out);
    add_disks(source, domains, domain, out);
    add_vifs(source, domain, out);
}

static bool add_domains(const struct inventory_source *source, const struct domain_owners *owners,
                        struct inventory *out, struct error *err)
{
    __attribute__((cleanup(domain_list_done))) struct domain_list list = {0};
    if (!source->driver->list(source->hypervisor, &list, err))
        return false;
    struct inventory_domain *items = memory_array(list.count, sizeof *items);
    size_t count = 0;
    for (size_t i = 0; i < list.count; i++)
        if (domain_owners_is_ours(owners, list.items[i].uuid))
            add_domain(source, &list, &list.items[i], &items[count++]);
    out->domains = (struct json_array){.items = items, .count = count};
    return true;
}

/* The records are read before and after the domains: one that arrives or leaves in between is then
 * taken for the other host's, never reported by both. */
static bool add_owned_domains(const struct inventory_source *source, struct inventory *out,
                              struct error *err)
{
    struct domain_owners *owners = NULL;
    if (!domain_owners_read(&owners, source->journal, err))
        return false;
    bool ok = add_domains(source, owners, out, err);
    domain_owners_free(owners);
    if (!ok || !domain_owners_read(&owners, source->journal, err))
        return false;
    struct inventory_domain *items = out->domains.items;
    for (size_t i = 0; i < out->domains.count;) {
        if (domain_owners_is_ours(owners, items[i].uuid)) {
            i++;
            continue;
        }
        free(items[i].disks.items);
        free(items[i].vifs.items);
        items[i] = items[--out->domains.count];
    }
    domain_owners_free(owners);
    return true;
}

bool inventory_build(const struct inventory_source *source, struct inventory *out,
                     struct error *err)
{
    struct inventory built = {0};
    add_networks(source, &built);
    add_links(source, &built);
    if (add_facts(source, &built, err) && sr_set_scan(source->srs, &built, err) &&
        add_owned_domains(source, &built, err)) {
        *out = built;
        return true;
    }
    json_release(inventory_fields, &built);
    return error_prefix(err, "inventory");
}
