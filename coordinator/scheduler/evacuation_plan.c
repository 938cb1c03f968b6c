/* From wishes to a plan and back; see evacuation_plan.h. */
#include "coordinator/scheduler/evacuation_plan.h"

#include "base/cleanup.h"
#include "base/memory.h"
#include "coordinator/domain/mapping.h"
#include "plan/plan_fit.h"
#include "plan/plan_report.h"
#include "plan/plan_resolve.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 3 }; /* plans, each without what preflight found in the one before */

struct work {
    struct evacuation_planning *p;
    struct plan_facts facts;
    struct plan_request request; /* names, owned */
    struct plan_input input;
    struct plan plan;
    int *vm_of;   /* of each wish: its VM in the facts; -1 = not there */
    int *wish_of; /* of each VM of the facts: its wish; -1 = none */
};

void evacuation_planning_done(struct evacuation_planning *planning)
{
    for (size_t i = 0; i < planning->count; i++) {
        free(planning->wishes[i].mapping);
        free(planning->wishes[i].copied);
        json_decref(planning->wishes[i].reasons);
    }
    free(planning->wishes);
    free(planning->plan);
    free(planning->vms);
    *planning = (struct evacuation_planning){0};
}

struct evacuation_wish *evacuation_planning_add(struct evacuation_planning *planning,
                                                const char *vm)
{
    planning->wishes =
        memory_resize(planning->wishes, planning->count + 1, sizeof *planning->wishes);
    struct evacuation_wish *wish = &planning->wishes[planning->count++];
    *wish = (struct evacuation_wish){0};
    snprintf(wish->vm, sizeof wish->vm, "%s", vm);
    snprintf(wish->row, sizeof wish->row, "%s", vm);
    return wish;
}

void evacuation_wish_reason(struct evacuation_wish *wish, const char *code, const char *message,
                            const char *fix)
{
    if (!wish->reasons)
        wish->reasons = json_array();
    json_array_append_new(
        wish->reasons, json_pack("{s:s, s:s, s:s}", "code", code, "message", message, "fix", fix));
}

static const char *vm_name(const struct work *w, int vm)
{
    return ((const struct plan_inventory_vm *)w->facts.inventory.vms.items)[vm].name;
}

static const char *host_name(const struct work *w, int host)
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

static bool is_listed(const struct json_array *ids, const char *id)
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
static void wish_for_all(struct work *w)
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
        wish->is_skipped = is_listed(&request->exclude, wish->vm);
        if (wish->is_skipped)
            evacuation_wish_reason(wish, "left-out", "the request leaves it out",
                                   "take it out of \"exclude\"");
    }
}

static void index_wishes(struct work *w)
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

static void name_hosts(const struct work *w, const struct json_array *ids, struct json_array *out)
{
    for (size_t i = 0; i < ids->count; i++) {
        int host = plan_facts_host(&w->facts, ((char **)ids->items)[i]);
        if (host >= 0)
            add_text(out, host_name(w, host));
    }
}

static void name_pools(const struct work *w, const struct json_array *ids, struct json_array *out)
{
    const struct plan_inventory_pool *pools = w->facts.inventory.pools.items;
    for (size_t i = 0; i < ids->count; i++) {
        int pool = plan_facts_pool(&w->facts, ((char **)ids->items)[i]);
        if (pool >= 0)
            add_text(out, pools[pool].name);
    }
}

/* VMs are called by the object that they were when the evacuation was made. */
static int find_vm(const struct work *w, const char *row)
{
    for (size_t i = 0; i < w->p->count; i++) {
        if (strcmp(w->p->wishes[i].row, row) == 0)
            return w->vm_of[i];
    }
    return plan_facts_vm(&w->facts, row);
}

static void name_vms(const struct work *w, const struct json_array *ids, struct json_array *out)
{
    for (size_t i = 0; i < ids->count; i++) {
        int vm = find_vm(w, ((char **)ids->items)[i]);
        if (vm >= 0)
            add_text(out, vm_name(w, vm));
    }
}

static void name_groups(const struct work *w, const struct json_array *from, struct json_array *to)
{
    const struct evacuation_group *groups = from->items;
    struct plan_request_group *made = memory_array(from->count, sizeof *made);
    for (size_t i = 0; i < from->count; i++)
        name_vms(w, &groups[i].vms, &made[i].vms);
    *to = (struct json_array){made, from->count};
}

/* A destination stays from plan to plan, as long as it takes VMs. */
static int kept_host(const struct work *w, const struct evacuation_wish *wish)
{
    const struct plan_inventory_host *hosts = w->facts.inventory.hosts.items;
    int host = wish->host[0] ? plan_facts_host(&w->facts, wish->host) : -1;
    return host >= 0 && !wish->is_fixed && hosts[host].is_in_maintenance ? -1 : host;
}

static void name_wishes(struct work *w)
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

static bool map_networks(struct db *db, struct work *w, const struct json_array *pairs,
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

static void map_srs(struct work *w, const struct json_array *pairs)
{
    const struct json_pair *srs = pairs->items;
    for (size_t i = 0; i < pairs->count; i++)
        add_pair(&w->request.mapping.srs, srs[i].key, srs[i].value);
}

/* A map that says of each disk where it goes: the planner maps whole SRs, so that each such disk
 * stands on an SR of its own, from which nothing is freed. */
static void map_own_disks(struct work *w, int vm, const struct mapping *map)
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

static bool map_own(struct db *db, struct work *w, size_t wish, struct error *err)
{
    struct mapping map = {0};
    if (!mapping_decode(w->p->wishes[wish].mapping, &map, err))
        return error_prefix(err, "stored mapping of VM %s", w->p->wishes[wish].vm);
    map_own_disks(w, w->vm_of[wish], &map);
    bool is_done = map_networks(db, w, &map.networks, err);
    map_srs(w, &map.srs);
    mapping_done(&map);
    return is_done;
}

static bool map_all(struct db *db, struct work *w, struct error *err)
{
    struct mapping map = {0};
    const char *text = w->p->request->mapping;
    if (text && !mapping_decode(text, &map, err))
        return error_prefix(err, "stored mapping");
    bool is_done = map_networks(db, w, &map.networks, err);
    map_srs(w, &map.srs);
    mapping_done(&map);
    for (size_t i = 0; is_done && i < w->p->count; i++) {
        if (w->p->wishes[i].mapping && w->vm_of[i] >= 0)
            is_done = map_own(db, w, i, err);
    }
    return is_done;
}

static bool fill_request(struct db *db, struct work *w, struct error *err)
{
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

/* ---- moves that go on ---- */

static double copied_of(const json_t *copied, size_t disk)
{
    return (double)json_integer_value(json_array_get(copied, disk));
}

/* It holds its room already, and its rate is what was measured. */
static void set_running(struct work *w, const struct evacuation_wish *wish, struct plan_vm *vm)
{
    int host = plan_facts_host(&w->facts, wish->host);
    bool is_known = host >= 0 && host != vm->host;
    for (size_t d = 0; is_known && d < vm->disk_count; d++)
        is_known = plan_fit_sr(&w->input, host, &vm->disks[d]) >= 0;
    vm->why_not[0] = '\0';
    vm->is_wanted = vm->is_running = is_known;
    if (!is_known)
        return;
    json_t *copied = wish->copied ? json_loads(wish->copied, 0, NULL) : NULL;
    for (size_t d = 0; d < vm->disk_count; d++)
        vm->disks[d].left_bytes =
            fmax(0, (double)vm->disks[d].allocated_bytes - copied_of(copied, d));
    json_decref(copied);
    vm->destination = host;
    vm->memory_left_bytes = (double)vm->memory_bytes;
    vm->measured_bytes_per_s = wish->rate_bytes_per_s;
}

/* ---- what the plan says ---- */

static void read_move(const struct work *w, int index)
{
    const struct plan_move *move = &w->plan.model.moves[index];
    const struct plan_times *times = &w->plan.schedule.timeline.moves[index];
    int number = w->wish_of[move->vm];
    if (number < 0)
        return;
    struct evacuation_wish *wish = &w->p->wishes[number];
    bool is_first_leg = move->is_helper && move->after < 0;
    snprintf(is_first_leg ? wish->via : wish->to, UUID_SIZE, "%s", w->facts.hosts[move->to]);
    wish->start_s = wish->is_planned ? fmin(wish->start_s, times->begin) : times->begin;
    wish->end_s = fmax(wish->end_s, times->end);
    wish->pause_s = fmax(wish->pause_s, plan_pause_s(&w->plan, &w->input, index));
    for (int i = 0; i < move->phase_count; i++)
        wish->bytes += plan_phase_wire(&move->phases[i]);
    wish->is_planned = true;
}

static void read_plan(const struct work *w)
{
    for (size_t i = 0; i < w->p->count; i++) {
        struct evacuation_wish *wish = &w->p->wishes[i];
        wish->is_planned = false;
        wish->start_s = wish->end_s = wish->pause_s = wish->bytes = 0;
        wish->to[0] = wish->via[0] = '\0';
        if (wish->is_skipped || wish->is_blocked)
            continue;
        json_decref(wish->reasons);
        wish->reasons = NULL;
    }
    for (int i = 0; i < w->plan.model.move_count; i++)
        read_move(w, i);
    for (size_t i = 0; i < w->plan.refusals.count; i++) {
        const struct plan_refusal *refusal = &w->plan.refusals.items[i];
        int wish = w->wish_of[refusal->vm];
        if (wish >= 0 && !w->p->wishes[wish].is_blocked)
            evacuation_wish_reason(&w->p->wishes[wish], refusal->code, refusal->message,
                                   "mend that, or leave the VM out (\"exclude\")");
    }
}

static char *dump(json_t *value)
{
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    json_decref(value);
    if (!text)
        abort(); /* only memory can be missing */
    return text;
}

static void say_plan(const struct work *w)
{
    char bottleneck[200];
    double makespan = w->plan.schedule.timeline.makespan;
    double bound = w->plan.bound.seconds;
    json_t *problems = json_array();
    plan_report_bottleneck(&w->plan, &w->input, bottleneck, sizeof bottleneck);
    for (size_t i = 0; i < w->plan.problem_count; i++)
        json_array_append_new(problems, json_string(w->plan.problems[i]));
    w->p->plan = dump(json_pack("{s:f, s:f, s:f, s:s, s:o}", "makespan_s", makespan, "bound_s",
                                bound, "gap", bound > 0 ? fmax(0, makespan / bound - 1) : 0.0,
                                "bottleneck", bottleneck, "problems", problems));
}

static json_t *text_or_null(const char *text)
{
    return text[0] ? json_string(text) : json_null();
}

static json_t *wish_json(const struct evacuation_wish *wish, size_t position)
{
    bool is_planned = wish->is_planned;
    const char *state = wish->is_skipped ? "skipped" : is_planned ? "waiting" : "refused";
    const char *to = is_planned ? wish->to : wish->host;
    json_t *mapping = wish->mapping ? json_loads(wish->mapping, 0, NULL) : NULL;
    return json_pack("{s:s, s:i, s:o, s:o, s:b, s:i, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o}", "vm",
                     wish->row, "position", (int)position, "host", text_or_null(to), "via",
                     text_or_null(wish->via), "is_fixed", wish->is_fixed, "priority",
                     wish->priority, "strategy", migration_mode_names[wish->mode], "state", state,
                     "start_s", is_planned ? json_real(wish->start_s) : json_null(), "end_s",
                     is_planned ? json_real(wish->end_s) : json_null(), "bytes",
                     is_planned ? json_integer((json_int_t)wish->bytes) : json_null(), "pause_ms",
                     is_planned ? json_integer((json_int_t)(wish->pause_s * 1000)) : json_null(),
                     "reasons", wish->reasons ? json_incref(wish->reasons) : json_array(),
                     "mapping", mapping ? mapping : json_null());
}

static void say_vms(struct evacuation_planning *p)
{
    json_t *list = json_array();
    p->planned = 0;
    for (size_t i = 0; i < p->count; i++) {
        json_array_append_new(list, wish_json(&p->wishes[i], i));
        p->planned += p->wishes[i].is_planned;
    }
    p->vms = dump(list);
}

/* ---- together ---- */

/* What preflight refused is left out of the next round. */
static void mark_blocked(struct work *w)
{
    struct plan_inventory_vm *vms = w->facts.inventory.vms.items;
    for (size_t i = 0; i < w->p->count; i++) {
        if (w->p->wishes[i].is_blocked && w->vm_of[i] >= 0)
            snprintf(vms[w->vm_of[i]].why_not, sizeof vms[w->vm_of[i]].why_not, "preflight");
    }
}

static bool plan_once(struct work *w, struct error *err)
{
    if (!plan_resolve(&w->facts.inventory, &w->request, &w->input, err)) {
        err->code = ERROR_TIMEOUT; /* the inventory changed while it was read; again */
        return error_prefix(err, "plan");
    }
    for (size_t i = 0; i < w->p->count; i++) {
        if (w->p->wishes[i].is_moving && w->vm_of[i] >= 0)
            set_running(w, &w->p->wishes[i], &w->input.vms[w->vm_of[i]]);
    }
    plan_make(&w->input, &w->plan);
    read_plan(w);
    return true;
}

static void forget_plan(struct work *w)
{
    plan_done(&w->plan);
    plan_input_done(&w->input);
    w->input = (struct plan_input){0};
}

/* *found: preflight refused more. */
static bool check_all(struct db *db, struct work *w, bool *found, struct error *err)
{
    *found = false;
    for (size_t i = 0; i < w->p->count; i++) {
        struct evacuation_wish *wish = &w->p->wishes[i];
        if (!wish->is_planned || wish->is_moving)
            continue;
        if (!evacuation_plan_check(db, w->p, &w->facts, wish, err))
            return false;
        *found = *found || wish->is_blocked;
    }
    return true;
}

static bool explain_all(struct db *db, struct work *w, struct error *err)
{
    for (size_t i = 0; i < w->p->count; i++) {
        struct evacuation_wish *wish = &w->p->wishes[i];
        bool is_refused = !wish->is_planned && !wish->is_skipped && !wish->is_blocked &&
                          !is_listed(&w->p->request->pinned, wish->row);
        if (is_refused && w->vm_of[i] < 0)
            evacuation_wish_reason(wish, "vm-not-found", "no host reports it now",
                                   "look at GET /v1/vms");
        else if (is_refused && !evacuation_plan_explain(db, w->p, &w->facts, wish, err))
            return false;
    }
    return true;
}

static bool plan_rounds(struct db *db, struct work *w, struct error *err)
{
    bool goes_on = true;
    for (int round = 0; goes_on; round++) {
        forget_plan(w);
        mark_blocked(w);
        if (!plan_once(w, err))
            return false;
        goes_on = w->p->is_checked && round < ROUNDS;
        if (goes_on && !check_all(db, w, &goes_on, err))
            return false;
    }
    return !w->p->is_checked || explain_all(db, w, err);
}

static bool make(struct db *db, struct work *w, struct error *err)
{
    struct evacuation_planning *p = w->p;
    if (!plan_facts_load(db, p->scope, p->host_lost_after_s, &w->facts, err))
        return false;
    if (p->count == 0 && p->request->hosts.count > 0)
        wish_for_all(w);
    index_wishes(w);
    if (!fill_request(db, w, err) || !plan_rounds(db, w, err))
        return false;
    say_plan(w);
    say_vms(p);
    return true;
}

bool evacuation_plan_make(struct db *db, struct evacuation_planning *planning, struct error *err)
{
    struct work w = {.p = planning};
    bool is_done = make(db, &w, err);
    forget_plan(&w);
    json_release(plan_request_fields, &w.request);
    plan_facts_done(&w.facts);
    free(w.vm_of);
    free(w.wish_of);
    return is_done;
}
