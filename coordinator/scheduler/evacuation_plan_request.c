/* What is wanted, and the planner's request of it, all ids as names; see evacuation_plan_work.h. */
#include "base/memory.h"
#include "coordinator/domain/mapping.h"
#include "coordinator/scheduler/evacuation_plan_work.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *vm_name(const struct evacuation_work *w, int vm)
{
    return ((const struct plan_inventory_vm *)w->facts.inventory.vms.items)[vm].name;
}

static const char *host_name(const struct evacuation_work *w, int host)
{
    return ((const struct plan_inventory_host *)w->facts.inventory.hosts.items)[host].name;
}

static void add_text(struct json_array *list, const char *text)
{
    char **items = memory_resize(list->items, list->count + 1, sizeof *items);
    items[list->count++] = memory_copy_text(text);
    list->items = items;
}

static void add_pair(struct json_array *list, const char *key, const char *value)
{
    struct json_pair *pairs = list->items;
    for (size_t i = 0; i < list->count; i++) {
        if (strcmp(pairs[i].key, key) == 0)
            return;
    }
    pairs = memory_resize(pairs, list->count + 1, sizeof *pairs);
    pairs[list->count++] = (struct json_pair){memory_copy_text(key), memory_copy_text(value)};
    list->items = pairs;
}

/* ---- what is wanted ---- */

bool evacuation_work_is_listed(const struct json_array *ids, const char *id)
{
    for (size_t i = 0; i < ids->count; i++) {
        if (strcmp(((char **)ids->items)[i], id) == 0)
            return true;
    }
    return false;
}

static void apply_choice(const struct evacuation_request *request, struct evacuation_wish *wish)
{
    const struct evacuation_vm_wish *choices = request->vms.items;
    for (size_t i = 0; i < request->vms.count; i++) {
        if (strcmp(choices[i].vm, wish->vm) != 0)
            continue;
        snprintf(wish->host, sizeof wish->host, "%.36s", choices[i].host);
        wish->is_fixed = choices[i].host[0] != '\0';
        wish->priority = choices[i].priority;
    }
}

/* All VMs of the emptied hosts. */
static void wish_for_all(struct evacuation_work *w)
{
    const struct evacuation_request *request = w->p->request;
    const struct plan_inventory_vm *vms = w->facts.inventory.vms.items;
    for (size_t i = 0; i < w->facts.inventory.vms.count; i++) {
        bool is_wanted = false;
        for (size_t h = 0; h < request->hosts.count && !is_wanted; h++) {
            int host = plan_facts_host(&w->facts, ((char **)request->hosts.items)[h]);
            is_wanted = host >= 0 && strcmp(host_name(w, host), vms[i].host) == 0;
        }
        if (!is_wanted)
            continue;
        struct evacuation_wish *wish = evacuation_planning_add(w->p, w->facts.vms[i]);
        apply_choice(request, wish);
        wish->is_skipped = evacuation_work_is_listed(&request->exclude, wish->vm);
        if (wish->is_skipped)
            evacuation_wish_reason(wish, "left-out", "the request leaves it out",
                                   "take it out of \"exclude\"");
    }
}

static void index_wishes(struct evacuation_work *w)
{
    w->vm_of = memory_array(w->p->count, sizeof *w->vm_of);
    w->wish_of = memory_array(w->facts.inventory.vms.count, sizeof *w->wish_of);
    for (size_t i = 0; i < w->facts.inventory.vms.count; i++)
        w->wish_of[i] = -1;
    for (size_t i = 0; i < w->p->count; i++) {
        w->vm_of[i] = plan_facts_vm(&w->facts, w->p->wishes[i].vm);
        if (w->vm_of[i] >= 0 && !w->p->wishes[i].is_skipped)
            w->wish_of[w->vm_of[i]] = (int)i;
    }
}

/* ---- the planner's request ---- */

static void name_hosts(const struct evacuation_work *w, const struct json_array *ids,
                       struct json_array *out)
{
    for (size_t i = 0; i < ids->count; i++) {
        int host = plan_facts_host(&w->facts, ((char **)ids->items)[i]);
        if (host >= 0)
            add_text(out, host_name(w, host));
    }
}

static void name_pools(const struct evacuation_work *w, const struct json_array *ids,
                       struct json_array *out)
{
    const struct plan_inventory_pool *pools = w->facts.inventory.pools.items;
    for (size_t i = 0; i < ids->count; i++) {
        int pool = plan_facts_pool(&w->facts, ((char **)ids->items)[i]);
        if (pool >= 0)
            add_text(out, pools[pool].name);
    }
}

/* VMs are called by the object that they were when the evacuation was made. */
static int find_vm(const struct evacuation_work *w, const char *row)
{
    for (size_t i = 0; i < w->p->count; i++) {
        if (strcmp(w->p->wishes[i].row, row) == 0)
            return w->vm_of[i];
    }
    const struct json_pair *objects = w->p->objects.items;
    for (size_t i = 0; i < w->p->objects.count; i++) {
        if (strcmp(objects[i].key, row) == 0)
            return plan_facts_vm(&w->facts, objects[i].value);
    }
    return plan_facts_vm(&w->facts, row);
}

static void name_vms(const struct evacuation_work *w, const struct json_array *ids,
                     struct json_array *out)
{
    for (size_t i = 0; i < ids->count; i++) {
        int vm = find_vm(w, ((char **)ids->items)[i]);
        if (vm >= 0)
            add_text(out, vm_name(w, vm));
    }
}

static void name_groups(const struct evacuation_work *w, const struct json_array *from,
                        struct json_array *to)
{
    const struct evacuation_group *groups = from->items;
    struct plan_request_group *made = memory_array(from->count, sizeof *made);
    for (size_t i = 0; i < from->count; i++)
        name_vms(w, &groups[i].vms, &made[i].vms);
    *to = (struct json_array){made, from->count};
}

/* A destination stays from plan to plan, as long as it takes VMs. */
static int kept_host(const struct evacuation_work *w, const struct evacuation_wish *wish)
{
    const struct plan_inventory_host *hosts = w->facts.inventory.hosts.items;
    int host = wish->host[0] ? plan_facts_host(&w->facts, wish->host) : -1;
    return host >= 0 && !wish->is_fixed && hosts[host].is_in_maintenance ? -1 : host;
}

static void name_wishes(struct evacuation_work *w)
{
    struct plan_request_vm *vms = memory_array(w->p->count, sizeof *vms);
    size_t count = 0;
    for (size_t i = 0; i < w->p->count; i++) {
        const struct evacuation_wish *wish = &w->p->wishes[i];
        if (w->vm_of[i] < 0 || wish->is_skipped || wish->is_moving)
            continue;
        struct plan_request_vm *vm = &vms[count++];
        int host = kept_host(w, wish);
        snprintf(vm->vm, sizeof vm->vm, "%s", vm_name(w, w->vm_of[i]));
        snprintf(vm->host, sizeof vm->host, "%s", host >= 0 ? host_name(w, host) : "");
        vm->priority = wish->priority;
    }
    w->request.vms = (struct json_array){vms, count};
    for (size_t i = 0; i < w->facts.inventory.vms.count; i++) {
        if (w->wish_of[i] < 0)
            add_text(&w->request.exclude, vm_name(w, (int)i));
    }
}

static bool map_networks(struct db *db, struct evacuation_work *w, const struct json_array *pairs,
                         struct error *err)
{
    const struct json_pair *networks = pairs->items;
    for (size_t i = 0; i < pairs->count; i++) {
        struct plan_name from, to;
        if (!plan_facts_network_name(db, networks[i].key, &from, err) ||
            !plan_facts_network_name(db, networks[i].value, &to, err))
            return false;
        add_pair(&w->request.mapping.networks, from.text, to.text);
    }
    return true;
}

static void map_srs(struct evacuation_work *w, const struct json_array *pairs)
{
    const struct json_pair *srs = pairs->items;
    for (size_t i = 0; i < pairs->count; i++)
        add_pair(&w->request.mapping.srs, srs[i].key, srs[i].value);
}

/* A map that says of each disk where it goes: the planner maps whole SRs, so that each such disk
 * stands on an SR of its own, from which nothing is freed. */
static void map_own_disks(struct evacuation_work *w, int vm, const struct mapping *map)
{
    struct plan_inventory_vm *moved = (struct plan_inventory_vm *)w->facts.inventory.vms.items + vm;
    const struct mapping_disk *disks = map->disks.items;
    struct json_array *srs = &w->facts.inventory.srs;
    for (size_t d = 0; map->disks.count == moved->disks.count && d < moved->disks.count; d++) {
        struct plan_inventory_disk *disk = (struct plan_inventory_disk *)moved->disks.items + d;
        srs->items = memory_resize(srs->items, srs->count + 1, sizeof(struct plan_inventory_sr));
        struct plan_inventory_sr *own = (struct plan_inventory_sr *)srs->items + srs->count++;
        *own = (struct plan_inventory_sr){0};
        snprintf(own->name, sizeof own->name, "%.36s disk %zu", w->facts.vms[vm], d);
        add_text(&own->hosts, moved->host);
        snprintf(disk->sr, sizeof disk->sr, "%s", own->name);
        add_pair(&w->request.mapping.srs, own->name, disks[d].sr);
    }
}

/* Its VIFs are left to preflight, which knows each by itself. */
static void forget_networks(struct plan_inventory_vm *vm)
{
    for (size_t i = 0; i < vm->networks.count; i++)
        free(((char **)vm->networks.items)[i]);
    free(vm->networks.items);
    vm->networks = (struct json_array){0};
}

static bool map_own(struct evacuation_work *w, size_t wish, struct error *err)
{
    struct mapping map = {0};
    if (!mapping_decode(w->p->wishes[wish].mapping, &map, NULL, err))
        return error_prefix(err, "stored mapping of VM %s", w->p->wishes[wish].vm);
    forget_networks((struct plan_inventory_vm *)w->facts.inventory.vms.items + w->vm_of[wish]);
    map_own_disks(w, w->vm_of[wish], &map);
    mapping_done(&map);
    return true;
}

static bool map_all(struct db *db, struct evacuation_work *w, struct error *err)
{
    struct mapping map = {0};
    const char *text = w->p->request->mapping;
    if (text && !mapping_decode(text, &map, NULL, err))
        return error_prefix(err, "stored mapping");
    bool is_done = map_networks(db, w, &map.networks, err);
    map_srs(w, &map.srs);
    mapping_done(&map);
    for (size_t i = 0; is_done && i < w->p->count; i++) {
        if (w->p->wishes[i].mapping && w->vm_of[i] >= 0)
            is_done = map_own(w, i, err);
    }
    return is_done;
}

bool evacuation_work_fill(struct db *db, struct evacuation_work *w, struct error *err)
{
    w->has_chosen = w->p->count == 0 && w->p->request->hosts.count > 0;
    if (w->has_chosen)
        wish_for_all(w);
    if (w->p->count > LIMIT_EVACUATION_VMS)
        return error_set(err, ERROR_CONFLICT, /* with what the hosts hold now */
                         "%zu VMs are to move: an evacuation has at most %d, so name fewer hosts",
                         w->p->count, (int)LIMIT_EVACUATION_VMS);
    index_wishes(w);
    const struct evacuation_request *from = w->p->request;
    struct plan_request *to = &w->request;
    name_hosts(w, &from->hosts, &to->evacuate_hosts);
    name_hosts(w, &from->destination_hosts, &to->destination_hosts);
    name_pools(w, &from->destination_pools, &to->destination_pools);
    name_vms(w, &from->pinned, &to->pinned);
    name_groups(w, &from->apart, &to->apart);
    name_groups(w, &from->together, &to->together);
    name_wishes(w);
    to->at_once = from->at_once;
    to->has_deadline = w->p->has_deadline;
    to->deadline_s = (int64_t)w->p->deadline_s;
    to->is_without_helpers = from->is_without_helpers;
    to->effort = w->p->effort;
    return map_all(db, w, err);
}
