/* Preflight of what a plan says; see evacuation_plan.h. */
#include "coordinator/scheduler/evacuation_plan.h"

#include "coordinator/scheduler/admission.h"

#include <string.h>

static const char *pool_of(const struct plan_facts *facts, const char *host)
{
    const struct plan_inventory_host *hosts = facts->inventory.hosts.items;
    const struct plan_inventory_pool *pools = facts->inventory.pools.items;
    int index = plan_facts_host(facts, host);
    for (size_t i = 0; index >= 0 && i < facts->inventory.pools.count; i++) {
        if (strcmp(pools[i].name, hosts[index].pool) == 0)
            return facts->pools[i];
    }
    return NULL;
}

static bool look(struct db *db, const struct evacuation_planning *planning,
                 const struct evacuation_wish *wish, const char *pool, const char *host,
                 struct admission *admission, struct error *err)
{
    struct admission_request request = {.vm = wish->vm,
                                        .pool = pool,
                                        .host = host,
                                        .mode = wish->mode,
                                        .policy.stall_timeout_s = POLICY_STALL_TIMEOUT_S,
                                        .created_by = planning->created_by,
                                        .host_lost_after_s = planning->host_lost_after_s};
    const char *map = wish->mapping ? wish->mapping : planning->request->mapping;
    if (map && !mapping_decode(map, &request.set, NULL, err))
        return error_prefix(err, "mapping");
    bool is_done = admission_check(db, &request, admission, err);
    mapping_done(&request.set);
    return is_done;
}

/* What others leave behind, or time, does not mend. */
static bool is_lasting(enum blocker_code code)
{
    return code != BLOCKER_MEMORY && code != BLOCKER_SR_ROOM && code != BLOCKER_HOST_NOT_CLEAN &&
           code != BLOCKER_VM_MIGRATING && code != BLOCKER_NO_HOST_FITS;
}

static bool has_message(const json_t *reasons, const char *message)
{
    for (size_t i = 0; i < json_array_size(reasons); i++) {
        const json_t *said = json_object_get(json_array_get(reasons, i), "message");
        if (strcmp(json_string_value(said), message) == 0)
            return true;
    }
    return false;
}

static void add_reasons(struct evacuation_wish *wish, const struct preflight_result *result,
                        bool is_lasting_alone)
{
    for (size_t i = 0; i < result->count; i++) {
        const struct blocker *b = &result->blockers[i];
        if (b->code == BLOCKER_NO_HOST_FITS || has_message(wish->reasons, b->message) ||
            (is_lasting_alone && !is_lasting(b->code)))
            continue;
        evacuation_wish_reason(wish, blocker_code_names[b->code], b->message, b->fix);
    }
}

static int count_lasting(const struct preflight_result *result, bool *is_not_live)
{
    int count = 0;
    *is_not_live = false;
    for (size_t i = 0; i < result->count; i++) {
        count += is_lasting(result->blockers[i].code);
        *is_not_live = *is_not_live || result->blockers[i].code == BLOCKER_VM_NOT_LIVE;
    }
    return count;
}

static double rate_into(const struct plan_facts *facts, const char *host)
{
    const struct plan_inventory_host *hosts = facts->inventory.hosts.items;
    int index = plan_facts_host(facts, host);
    return index < 0 ? PLAN_FACTS_RATE : (double)hosts[index].receive_bytes_per_s;
}

bool evacuation_plan_check(struct db *db, const struct evacuation_planning *planning,
                           const struct plan_facts *facts, struct evacuation_wish *wish,
                           struct error *err)
{
    const char *host = wish->via[0] ? wish->via : wish->to;
    bool is_not_live = false;
    for (;;) {
        struct admission admission = {0};
        if (!look(db, planning, wish, pool_of(facts, host), host, &admission, err))
            return false;
        wish->is_blocked = count_lasting(&admission.result, &is_not_live) > 0;
        bool may_suspend = is_not_live && planning->request->may_suspend && wish->mode == MODE_LIVE;
        if (wish->mode == MODE_SUSPEND)
            wish->pause_s = (double)admission.input.memory_bytes / rate_into(facts, host);
        if (wish->is_blocked && !may_suspend)
            add_reasons(wish, &admission.result, false);
        admission_done(&admission);
        if (!may_suspend)
            return true;
        wish->mode = MODE_SUSPEND;
    }
}

static bool explain_in(struct db *db, const struct evacuation_planning *planning,
                       struct evacuation_wish *wish, const char *pool, const char *host,
                       struct error *err)
{
    struct admission admission = {0};
    if (!look(db, planning, wish, pool, host, &admission, err))
        return false;
    add_reasons(wish, &admission.result, false);
    admission_done(&admission);
    return true;
}

enum { EXPLAINED_POOLS = 4 }; /* one reason more for each is no help any more */

bool evacuation_plan_explain(struct db *db, const struct evacuation_planning *planning,
                             const struct plan_facts *facts, struct evacuation_wish *wish,
                             struct error *err)
{
    const struct json_array *pools = &planning->request->destination_pools;
    const struct json_array *hosts = &planning->request->destination_hosts;
    if (wish->host[0] && pool_of(facts, wish->host))
        return explain_in(db, planning, wish, pool_of(facts, wish->host), wish->host, err);
    for (size_t i = 0; i < pools->count && i < EXPLAINED_POOLS; i++) {
        if (!explain_in(db, planning, wish, ((char **)pools->items)[i], NULL, err))
            return false;
    }
    for (size_t i = 0; i < hosts->count && i < EXPLAINED_POOLS; i++) {
        const char *host = ((char **)hosts->items)[i];
        if (pool_of(facts, host) &&
            !explain_in(db, planning, wish, pool_of(facts, host), host, err))
            return false;
    }
    return true;
}
