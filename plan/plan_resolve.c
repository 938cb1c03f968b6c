/* The inventory's names; see plan_resolve.h. */
#include "plan/plan_resolve_state.h"

#include "base/memory.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEFAULT_SLOTS = 4, DEFAULT_HANDOFF_MS = 1000 };

int resolver_find(struct resolver *r, const struct plan_names *names, const char *kind,
                  const char *name, const char *place, ...)
{
    char where[200];
    int index = plan_names_find(names, name);
    if (index >= 0)
        return index;
    va_list args;
    va_start(args, place);
    vsnprintf(where, sizeof where, place, args);
    va_end(args);
    error_set(r->err, ERROR_INVALID, "%s: expected the name of a %s, there is no \"%.60s\"", where,
              kind, name);
    return -1;
}

static bool index_names(struct plan_names *names, const char *kind, const char *first, size_t count,
                        size_t stride, struct error *err)
{
    plan_names_init(names, first, count, stride);
    int twice = plan_names_twice(names);
    if (twice < 0)
        return true;
    return error_set(err, ERROR_INVALID,
                     "inventory /%ss/%d/name: expected a name that no other %s has, \"%.60s\" is "
                     "there twice",
                     kind, twice, kind, first + (size_t)twice * stride);
}

static void copy_name(struct plan_name *to, const char *from)
{
    snprintf(to->text, sizeof to->text, "%s", from);
}

static bool add_network(struct resolver *r, struct plan_numbers *list, const char *name)
{
    struct plan_input *input = r->input;
    size_t n = 0;
    if (name[0] == '\0' || strlen(name) > LIMIT_NAME)
        return error_set(r->err, ERROR_INVALID, "expected a network name of 1 to %d bytes",
                         (int)LIMIT_NAME);
    while (n < input->network_count && strcmp(input->networks[n].text, name) != 0)
        n++;
    if (n == LIMIT_PLAN_NAMES)
        return error_set(r->err, ERROR_INVALID, "expected at most %d different networks",
                         (int)LIMIT_PLAN_NAMES);
    if (n == input->network_count)
        copy_name(&input->networks[input->network_count++], name);
    list->items[list->count++] = (int)n;
    return true;
}

static bool add_networks(struct resolver *r, const struct json_array *names,
                         struct plan_numbers *list, const char *kind, size_t index)
{
    list->items = memory_array(names->count, sizeof *list->items);
    for (size_t n = 0; n < names->count; n++) {
        if (!add_network(r, list, ((char **)names->items)[n]))
            return error_prefix(r->err, "inventory /%s/%zu/networks/%zu", kind, index, n);
    }
    return true;
}

static bool decode_features(const char *text, bool *has, struct cpu_features *out, const char *kind,
                            size_t index, struct error *err)
{
    *has = text && text[0];
    if (!*has || cpu_features_decode(text, out, err))
        return true;
    err->code = ERROR_INVALID;
    return error_prefix(err, "inventory /%s/%zu/features", kind, index);
}

static bool resolve_pools(struct resolver *r)
{
    const struct plan_inventory_pool *pools = r->inventory->pools.items;
    struct plan_input *input = r->input;
    input->pools = memory_array(r->inventory->pools.count, sizeof *input->pools);
    for (size_t i = 0; i < r->inventory->pools.count; i++)
        copy_name(&input->pools[input->pool_count++], pools[i].name);
    return index_names(&r->pools, "pool", input->pools[0].text, input->pool_count,
                       sizeof *input->pools, r->err);
}

static bool resolve_host(struct resolver *r, size_t i)
{
    const struct plan_inventory_host *from =
        (const struct plan_inventory_host *)r->inventory->hosts.items + i;
    struct plan_host *host = &r->input->hosts[r->input->host_count++];
    int pool = resolver_find(r, &r->pools, "pool", from->pool, "inventory /hosts/%zu/pool", i);
    if (pool < 0)
        return false;
    copy_name(&host->name, from->name);
    host->pool = pool;
    host->send_bytes_per_s = (double)from->send_bytes_per_s;
    host->receive_bytes_per_s = (double)from->receive_bytes_per_s;
    host->memory_free_bytes = from->memory_free_bytes;
    host->slots = from->slots ? from->slots : DEFAULT_SLOTS;
    if (r->request->slots && !from->slots)
        host->slots = r->request->slots;
    host->may_help = host->is_destination = !from->is_in_maintenance;
    memcpy(host->cpu_vendor, from->cpu_vendor, sizeof host->cpu_vendor);
    return decode_features(from->features, &host->has_features, &host->features, "hosts", i,
                           r->err) &&
           add_networks(r, &from->networks, &host->networks, "hosts", i);
}

static bool resolve_hosts(struct resolver *r)
{
    size_t count = r->inventory->hosts.count;
    r->input->hosts = memory_array(count, sizeof *r->input->hosts);
    for (size_t i = 0; i < count; i++) {
        if (!resolve_host(r, i))
            return false;
    }
    return index_names(&r->hosts, "host", r->input->hosts[0].name.text, count,
                       sizeof *r->input->hosts, r->err);
}

static bool resolve_sr(struct resolver *r, size_t i)
{
    const struct plan_inventory_sr *from =
        (const struct plan_inventory_sr *)r->inventory->srs.items + i;
    struct plan_sr *sr = &r->input->srs[r->input->sr_count++];
    copy_name(&sr->name, from->name);
    copy_name(&sr->label, from->label);
    sr->free_bytes = from->free_bytes;
    sr->is_thin = from->is_thin;
    sr->bytes_per_s = (double)from->bytes_per_s;
    for (size_t h = 0; h < from->hosts.count; h++) {
        int host = resolver_find(r, &r->hosts, "host", ((char **)from->hosts.items)[h],
                                 "inventory /srs/%zu/hosts/%zu", i, h);
        if (host < 0)
            return false;
        struct plan_numbers *reached = &r->input->hosts[host].srs;
        reached->items = memory_resize(reached->items, reached->count + 1, sizeof(int));
        reached->items[reached->count++] = (int)i;
    }
    return true;
}

static bool resolve_srs(struct resolver *r)
{
    size_t count = r->inventory->srs.count;
    r->input->srs = memory_array(count, sizeof *r->input->srs);
    r->input->sr_map = memory_array(count, sizeof *r->input->sr_map);
    for (size_t i = 0; i < count; i++) {
        if (!resolve_sr(r, i))
            return false;
    }
    return index_names(&r->srs, "sr", r->input->srs[0].name.text, count, sizeof *r->input->srs,
                       r->err);
}

static bool resolve_links(struct resolver *r)
{
    const struct plan_inventory_link *links = r->inventory->links.items;
    size_t count = r->inventory->links.count;
    r->input->links = memory_array(count, sizeof *r->input->links);
    for (size_t i = 0; i < count; i++) {
        int from =
            resolver_find(r, &r->pools, "pool", links[i].from, "inventory /links/%zu/from", i);
        int to = from < 0 ? -1
                          : resolver_find(r, &r->pools, "pool", links[i].to,
                                          "inventory /links/%zu/to", i);
        if (to < 0)
            return false;
        for (size_t l = 0; l < i; l++) {
            if (r->input->links[l].from == from && r->input->links[l].to == to)
                return error_set(r->err, ERROR_INVALID,
                                 "inventory /links/%zu: expected one link for each direction, "
                                 "/links/%zu is the same",
                                 i, l);
        }
        r->input->links[r->input->link_count++] =
            (struct plan_link){from, to, (double)links[i].bytes_per_s};
    }
    return true;
}

static bool resolve_disks(struct resolver *r, const struct plan_inventory_vm *from,
                          struct plan_vm *vm, size_t i)
{
    const struct plan_inventory_disk *disks = from->disks.items;
    vm->disks = memory_array(from->disks.count, sizeof *vm->disks);
    for (size_t d = 0; d < from->disks.count; d++) {
        int sr =
            resolver_find(r, &r->srs, "sr", disks[d].sr, "inventory /vms/%zu/disks/%zu/sr", i, d);
        if (sr < 0)
            return false;
        if (!plan_numbers_have(&r->input->hosts[vm->host].srs, sr))
            return error_set(r->err, ERROR_INVALID,
                             "inventory /vms/%zu/disks/%zu/sr: expected an SR that host \"%.60s\" "
                             "reaches, \"%.60s\" is none",
                             i, d, r->input->hosts[vm->host].name.text, disks[d].sr);
        vm->disks[vm->disk_count++] =
            (struct plan_disk){.sr = sr,
                               .size_bytes = disks[d].size_bytes,
                               .allocated_bytes = disks[d].allocated_bytes};
    }
    return true;
}

static bool resolve_vm(struct resolver *r, size_t i)
{
    const struct plan_inventory_vm *from =
        (const struct plan_inventory_vm *)r->inventory->vms.items + i;
    struct plan_vm *vm = &r->input->vms[r->input->vm_count++];
    vm->destination = -1;
    vm->host = resolver_find(r, &r->hosts, "host", from->host, "inventory /vms/%zu/host", i);
    if (vm->host < 0)
        return false;
    copy_name(&vm->name, from->name);
    vm->memory_bytes = from->memory_bytes;
    vm->dirty_bytes_per_s = (double)from->dirty_bytes_per_s;
    vm->write_bytes_per_s = (double)from->write_bytes_per_s;
    memcpy(vm->cpu_vendor, from->cpu_vendor, sizeof vm->cpu_vendor);
    memcpy(vm->why_not, from->why_not, sizeof vm->why_not);
    return decode_features(from->features, &vm->has_features, &vm->features, "vms", i, r->err) &&
           add_networks(r, &from->networks, &vm->networks, "vms", i) &&
           resolve_disks(r, from, vm, i);
}

static bool resolve_vms(struct resolver *r)
{
    size_t count = r->inventory->vms.count;
    r->input->vms = memory_array(count, sizeof *r->input->vms);
    for (size_t i = 0; i < count; i++) {
        if (!resolve_vm(r, i))
            return false;
    }
    return index_names(&r->vms, "vm", r->input->vms[0].name.text, count, sizeof *r->input->vms,
                       r->err);
}

static void resolve_options(struct resolver *r)
{
    const struct plan_request *request = r->request;
    int64_t handoff_ms = request->has_handoff ? request->handoff_ms : DEFAULT_HANDOFF_MS;
    r->input->options = (struct plan_options){
        .at_once = request->at_once,
        .handoff_s = (double)handoff_ms / 1000,
        .has_deadline = request->has_deadline,
        .deadline_s = (double)request->deadline_s,
        .may_help = !request->is_without_helpers,
        .seed = (uint64_t)request->seed,
        .effort = request->effort,
    };
}

bool plan_resolve(const struct plan_inventory *inventory, const struct plan_request *request,
                  struct plan_input *input, struct error *err)
{
    struct plan_input made = {0};
    struct resolver r = {.inventory = inventory, .request = request, .input = &made, .err = err};
    made.networks = memory_array(LIMIT_PLAN_NAMES, sizeof *made.networks);
    made.network_map = memory_array(LIMIT_PLAN_NAMES, sizeof *made.network_map);
    resolve_options(&r);
    bool is_done = resolve_pools(&r) && resolve_hosts(&r) && resolve_srs(&r) && resolve_links(&r) &&
                   resolve_vms(&r) && plan_resolve_request(&r);
    plan_names_done(&r.pools);
    plan_names_done(&r.hosts);
    plan_names_done(&r.srs);
    plan_names_done(&r.vms);
    if (!is_done) {
        plan_input_done(&made);
        return false;
    }
    *input = made;
    return true;
}
