/* The request's names; see plan_resolve.h. */
#include "plan/plan_resolve_state.h"

#include "base/memory.h"
#include "plan/plan_fit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *text_at(const struct json_array *texts, size_t i)
{
    return ((char **)texts->items)[i];
}

/* Marks hosts by name, and all hosts of pools by name. */
static bool mark_hosts(struct resolver *r, const char *word, const struct json_array *hosts,
                       const struct json_array *pools, bool *is_marked)
{
    for (size_t i = 0; i < hosts->count; i++) {
        int host = resolver_find(r, &r->hosts, "host", text_at(hosts, i), "request /%s_hosts/%zu",
                                 word, i);
        if (host < 0)
            return false;
        is_marked[host] = true;
    }
    for (size_t i = 0; i < pools->count; i++) {
        int pool = resolver_find(r, &r->pools, "pool", text_at(pools, i), "request /%s_pools/%zu",
                                 word, i);
        if (pool < 0)
            return false;
        for (size_t h = 0; h < r->input->host_count; h++)
            is_marked[h] = is_marked[h] || r->input->hosts[h].pool == pool;
    }
    return true;
}

/* A host that is emptied takes nobody and helps nobody, whatever else the request says. */
static void apply_hosts(struct resolver *r, const bool *is_emptied, const bool *is_named)
{
    const struct plan_request *request = r->request;
    bool is_anywhere = request->destination_hosts.count + request->destination_pools.count == 0;
    for (size_t h = 0; h < r->input->host_count; h++) {
        struct plan_host *host = &r->input->hosts[h];
        host->is_emptied = is_emptied[h];
        host->may_help = host->may_help && !is_emptied[h];
        host->is_destination =
            host->is_destination && !is_emptied[h] && (is_anywhere || is_named[h]);
    }
    for (size_t v = 0; v < r->input->vm_count; v++)
        r->input->vms[v].is_wanted = is_emptied[r->input->vms[v].host];
}

static bool resolve_hosts(struct resolver *r)
{
    const struct plan_request *request = r->request;
    bool *is_emptied = memory_array(r->input->host_count, sizeof *is_emptied);
    bool *is_named = memory_array(r->input->host_count, sizeof *is_named);
    bool is_done =
        mark_hosts(r, "evacuate", &request->evacuate_hosts, &request->evacuate_pools, is_emptied) &&
        mark_hosts(r, "destination", &request->destination_hosts, &request->destination_pools,
                   is_named);
    if (is_done)
        apply_hosts(r, is_emptied, is_named);
    free(is_emptied);
    free(is_named);
    return is_done;
}

static bool resolve_vms(struct resolver *r)
{
    const struct plan_request_vm *vms = r->request->vms.items;
    for (size_t i = 0; i < r->request->vms.count; i++) {
        int vm = resolver_find(r, &r->vms, "VM", vms[i].vm, "request /vms/%zu/vm", i);
        if (vm < 0)
            return false;
        struct plan_vm *wanted = &r->input->vms[vm];
        wanted->is_wanted = true;
        wanted->priority = vms[i].priority;
        if (!vms[i].host[0])
            continue;
        wanted->destination =
            resolver_find(r, &r->hosts, "host", vms[i].host, "request /vms/%zu/host", i);
        if (wanted->destination < 0)
            return false;
    }
    return true;
}

static bool resolve_exceptions(struct resolver *r)
{
    const struct plan_request *request = r->request;
    for (size_t i = 0; i < request->exclude.count; i++) {
        int vm = resolver_find(r, &r->vms, "VM", text_at(&request->exclude, i),
                               "request /exclude/%zu", i);
        if (vm < 0)
            return false;
        r->input->vms[vm].is_wanted = false;
    }
    for (size_t i = 0; i < request->pinned.count; i++) {
        int vm =
            resolver_find(r, &r->vms, "VM", text_at(&request->pinned, i), "request /pinned/%zu", i);
        if (vm < 0)
            return false;
        r->input->vms[vm].is_pinned = true;
    }
    return true;
}

/* In a group before the last one, which is being made. */
static bool is_together_already(const struct plan_input *input, int vm)
{
    for (size_t g = 0; g + 1 < input->group_count; g++) {
        if (!input->groups[g].is_apart && plan_numbers_have(&input->groups[g].vms, vm))
            return true;
    }
    return false;
}

static bool resolve_groups(struct resolver *r, const struct json_array *groups, const char *word)
{
    const struct plan_request_group *from = groups->items;
    for (size_t g = 0; g < groups->count; g++) {
        struct plan_group *group = &r->input->groups[r->input->group_count++];
        group->is_apart = strcmp(word, "apart") == 0;
        group->vms.items = memory_array(from[g].vms.count, sizeof *group->vms.items);
        for (size_t i = 0; i < from[g].vms.count; i++) {
            int vm = resolver_find(r, &r->vms, "VM", text_at(&from[g].vms, i),
                                   "request /%s/%zu/vms/%zu", word, g, i);
            if (vm < 0)
                return false;
            if (!group->is_apart && is_together_already(r->input, vm))
                return error_set(r->err, ERROR_INVALID,
                                 "request /together/%zu/vms/%zu: expected a VM that is in one such "
                                 "group only",
                                 g, i);
            group->vms.items[group->vms.count++] = vm;
        }
    }
    return true;
}

static bool resolve_running(struct resolver *r, size_t i)
{
    const struct plan_request_running *from =
        (const struct plan_request_running *)r->request->running.items + i;
    int vm = resolver_find(r, &r->vms, "VM", from->vm, "request /running/%zu/vm", i);
    int host =
        vm < 0 ? -1
               : resolver_find(r, &r->hosts, "host", from->host, "request /running/%zu/host", i);
    if (host < 0)
        return false;
    struct plan_vm *moving = &r->input->vms[vm];
    if (moving->host == host)
        return error_set(r->err, ERROR_INVALID,
                         "request /running/%zu/host: expected another host than the one it is on",
                         i);
    if (from->disks.count != moving->disk_count)
        return error_set(r->err, ERROR_INVALID,
                         "request /running/%zu/disks: expected %zu items, one for each disk", i,
                         moving->disk_count);
    for (size_t d = 0; d < moving->disk_count; d++)
        moving->disks[d].left_bytes =
            (double)((const struct plan_request_left *)from->disks.items)[d].left_bytes;
    moving->is_wanted = moving->is_running = true;
    moving->destination = host;
    moving->memory_left_bytes = (double)from->memory_left_bytes;
    moving->measured_bytes_per_s = (double)from->measured_bytes_per_s;
    return true;
}

static int find_network(const struct plan_input *input, const char *name)
{
    for (size_t n = 0; n < input->network_count; n++) {
        if (strcmp(input->networks[n].text, name) == 0)
            return (int)n;
    }
    return -1;
}

/* A mapping may name what this inventory has not: sets of mappings are made for more than one plan.
 */
static void resolve_mapping(struct resolver *r)
{
    struct plan_input *input = r->input;
    const struct json_pair *networks = r->request->mapping.networks.items;
    const struct json_pair *srs = r->request->mapping.srs.items;
    for (size_t n = 0; n < input->network_count; n++)
        input->network_map[n] = -1;
    for (size_t i = 0; i < r->request->mapping.networks.count; i++) {
        int from = find_network(input, networks[i].key);
        if (from >= 0)
            input->network_map[from] = find_network(input, networks[i].value);
    }
    for (size_t s = 0; s < input->sr_count; s++) {
        const char *by_label = "", *by_name = "";
        for (size_t i = 0; i < r->request->mapping.srs.count; i++) {
            by_label = strcmp(srs[i].key, input->srs[s].label.text) == 0 ? srs[i].value : by_label;
            by_name = strcmp(srs[i].key, input->srs[s].name.text) == 0 ? srs[i].value : by_name;
        }
        snprintf(input->sr_map[s].text, sizeof input->sr_map[s].text, "%s",
                 by_name[0] ? by_name : by_label);
    }
}

/* What is on its way already must be able to be there, or nothing can be said about it. */
static bool check_running(struct resolver *r)
{
    const struct plan_request_running *running = r->request->running.items;
    for (size_t i = 0; i < r->request->running.count; i++) {
        int vm = plan_names_find(&r->vms, running[i].vm);
        const struct plan_vm *moving = &r->input->vms[vm];
        for (size_t d = 0; d < moving->disk_count; d++) {
            if (plan_fit_sr(r->input, moving->destination, &moving->disks[d]) < 0)
                return error_set(r->err, ERROR_INVALID,
                                 "request /running/%zu/disks/%zu: expected a mapping of SR "
                                 "\"%.60s\" that host \"%.60s\" reaches",
                                 i, d, r->input->srs[moving->disks[d].sr].name.text,
                                 running[i].host);
        }
    }
    return true;
}

bool plan_resolve_request(struct resolver *r)
{
    const struct plan_request *request = r->request;
    r->input->groups =
        memory_array(request->apart.count + request->together.count, sizeof *r->input->groups);
    if (!resolve_hosts(r) || !resolve_vms(r) || !resolve_exceptions(r) ||
        !resolve_groups(r, &request->apart, "apart") ||
        !resolve_groups(r, &request->together, "together"))
        return false;
    for (size_t i = 0; i < request->running.count; i++) {
        if (!resolve_running(r, i))
            return false;
    }
    resolve_mapping(r);
    return check_running(r);
}
