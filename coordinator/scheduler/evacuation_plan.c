/* From wishes to a plan and back; see evacuation_plan.h. */
#include "coordinator/scheduler/evacuation_plan_work.h"

#include "base/cleanup.h"
#include "base/memory.h"
#include "base/utf8.h"
#include "plan/plan_fit.h"
#include "plan/plan_report.h"
#include "plan/plan_resolve.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    ROUNDS = 3,   /* plans, each without what preflight found in the one before */
    READINGS = 3, /* of facts that change while they are read */
};

static void forget_wishes(struct evacuation_planning *planning)
{
    for (size_t i = 0; i < planning->count; i++) {
        free(planning->wishes[i].mapping);
        free(planning->wishes[i].copied);
        json_decref(planning->wishes[i].reasons);
    }
    free(planning->wishes);
    planning->wishes = NULL;
    planning->count = 0;
}

void evacuation_planning_done(struct evacuation_planning *planning)
{
    struct json_pair *objects = planning->objects.items;
    forget_wishes(planning);
    for (size_t i = 0; i < planning->objects.count; i++) {
        free(objects[i].key);
        free(objects[i].value);
    }
    free(objects);
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

void evacuation_planning_add_object(struct evacuation_planning *planning, const char *row,
                                    const char *vm)
{
    struct json_pair *pairs =
        memory_resize(planning->objects.items, planning->objects.count + 1, sizeof *pairs);
    pairs[planning->objects.count++] =
        (struct json_pair){memory_copy_text(row), memory_copy_text(vm)};
    planning->objects.items = pairs;
}

void evacuation_wish_reason(struct evacuation_wish *wish, const char *code, const char *message,
                            const char *fix)
{
    auto_free char *said = memory_copy_text(message);
    utf8_repair(said); /* names in it may be cut */
    if (!wish->reasons)
        wish->reasons = json_array();
    json_array_append_new(wish->reasons,
                          json_pack("{s:s, s:s, s:s}", "code", code, "message", said, "fix", fix));
}

/* ---- moves that go on ---- */

static double copied_of(const json_t *copied, size_t disk)
{
    return (double)json_integer_value(json_array_get(copied, disk));
}

/* It holds its room already, and its rate is what was measured. */
static void set_running(struct evacuation_work *w, const struct evacuation_wish *wish,
                        struct plan_vm *vm)
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

static void read_move(const struct evacuation_work *w, int index)
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

static void read_plan(const struct evacuation_work *w)
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

/* JSON knows no infinity. */
static json_t *number(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static void say_plan(const struct evacuation_work *w)
{
    char bottleneck[200];
    double makespan = w->plan.schedule.timeline.makespan;
    double bound = w->plan.bound.seconds;
    json_t *problems = json_array();
    plan_report_bottleneck(&w->plan, &w->input, bottleneck, sizeof bottleneck);
    utf8_repair(bottleneck);
    for (size_t i = 0; i < w->plan.problem_count; i++)
        json_array_append_new(problems, json_string(w->plan.problems[i]));
    w->p->plan =
        dump(json_pack("{s:o, s:o, s:o, s:s, s:o}", "makespan_s", number(makespan), "bound_s",
                       number(bound), "gap", number(bound > 0 ? fmax(0, makespan / bound - 1) : 0),
                       "bottleneck", bottleneck, "problems", problems));
}

static json_t *text_or_null(const char *text)
{
    return text[0] ? json_string(text) : json_null();
}

static const char *state_of(const struct evacuation_planning *p, const struct evacuation_wish *wish)
{
    if (wish->is_skipped)
        return "skipped";
    return wish->is_planned || (p->is_patient && !wish->is_blocked) ? "waiting" : "refused";
}

static json_t *wish_json(const struct evacuation_wish *wish, size_t position, const char *state)
{
    bool is_planned = wish->is_planned;
    const char *to = is_planned ? wish->to : wish->host;
    json_t *mapping = wish->mapping ? json_loads(wish->mapping, 0, NULL) : NULL;
    return json_pack("{s:s, s:i, s:o, s:o, s:b, s:i, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o}", "vm",
                     wish->row, "position", (int)position, "host", text_or_null(to), "via",
                     text_or_null(wish->via), "is_fixed", wish->is_fixed, "priority",
                     wish->priority, "strategy", migration_mode_names[wish->mode], "state", state,
                     "start_s", is_planned ? number(wish->start_s) : json_null(), "end_s",
                     is_planned ? number(wish->end_s) : json_null(), "bytes",
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
        json_array_append_new(list, wish_json(&p->wishes[i], i, state_of(p, &p->wishes[i])));
        p->planned += p->wishes[i].is_planned;
    }
    p->vms = dump(list);
}

/* ---- together ---- */

/* What preflight refused is left out of the next round. */
static void mark_blocked(struct evacuation_work *w)
{
    struct plan_inventory_vm *vms = w->facts.inventory.vms.items;
    for (size_t i = 0; i < w->p->count; i++) {
        if (w->p->wishes[i].is_blocked && w->vm_of[i] >= 0)
            snprintf(vms[w->vm_of[i]].why_not, sizeof vms[w->vm_of[i]].why_not, "preflight");
    }
}

static bool plan_once(struct evacuation_work *w, struct error *err)
{
    w->is_torn = !plan_resolve(&w->facts.inventory, &w->request, &w->input, err);
    if (w->is_torn) {
        err->code = ERROR_TIMEOUT; /* may be tried again */
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

static void forget_plan(struct evacuation_work *w)
{
    plan_done(&w->plan);
    plan_input_done(&w->input);
    w->input = (struct plan_input){0};
}

/* *found: preflight refused more. */
static bool check_all(struct db *db, struct evacuation_work *w, bool *found, struct error *err)
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

static bool explain_all(struct db *db, struct evacuation_work *w, struct error *err)
{
    for (size_t i = 0; i < w->p->count; i++) {
        struct evacuation_wish *wish = &w->p->wishes[i];
        bool is_refused = !wish->is_planned && !wish->is_skipped && !wish->is_blocked &&
                          !evacuation_work_is_listed(&w->p->request->pinned, wish->row);
        if (is_refused && w->vm_of[i] >= 0 &&
            !evacuation_plan_explain(db, w->p, &w->facts, wish, err))
            return false;
    }
    return true;
}

static void explain_missing(struct evacuation_work *w)
{
    for (size_t i = 0; i < w->p->count; i++) {
        if (w->vm_of[i] < 0 && !w->p->wishes[i].is_skipped)
            evacuation_wish_reason(&w->p->wishes[i], "vm-not-found", "no host reports it now",
                                   "look at GET /v1/vms");
    }
}

static bool plan_rounds(struct db *db, struct evacuation_work *w, struct error *err)
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
    explain_missing(w);
    return !w->p->is_checked || explain_all(db, w, err);
}

static bool make(struct db *db, struct evacuation_work *w, struct error *err)
{
    struct evacuation_planning *p = w->p;
    if (!plan_facts_load(db, p->scope, p->host_lost_after_s, &w->facts, err))
        return false;
    if (!evacuation_work_fill(db, w, err) || !plan_rounds(db, w, err))
        return false;
    say_plan(w);
    say_vms(p);
    return true;
}

/* *is_torn: it failed, and with facts that are read anew it may not. */
static bool make_once(struct db *db, struct evacuation_planning *planning, bool *is_torn,
                      struct error *err)
{
    struct evacuation_work w = {.p = planning};
    bool is_done = make(db, &w, err);
    *is_torn = w.is_torn;
    if (w.is_torn && w.has_chosen)
        forget_wishes(planning);
    forget_plan(&w);
    json_release(plan_request_fields, &w.request);
    plan_facts_done(&w.facts);
    free(w.vm_of);
    free(w.wish_of);
    return is_done;
}

bool evacuation_plan_make(struct db *db, struct evacuation_planning *planning, struct error *err)
{
    bool is_torn = false;
    for (int i = 0; i < READINGS; i++) {
        bool is_done = make_once(db, planning, &is_torn, err);
        if (is_done || !is_torn)
            return is_done;
    }
    return false;
}
