/* Words and tables of evacuations; see evacuation.h. */
#include "coordinator/domain/evacuation.h"

#include "base/json_table.h"
#include "coordinator/domain/mapping.h"

#include <string.h>

const char *const evacuation_state_names[] = {"running",
                                              "paused",
                                              "stopping",
                                              "rolling-back",
                                              "cancelling",
                                              "succeeded",
                                              "succeeded-with-exceptions",
                                              "failed",
                                              "cancelled",
                                              NULL};
const char *const evacuation_on_failure_names[] = {"continue", "stop", "rollback", NULL};

static const struct json_field wish_fields[] = {
    JSON_CHARS("vm", evacuation_vm_wish, vm, 1, true),
    JSON_CHARS("host", evacuation_vm_wish, host, 0, false),
    JSON_INT("priority", evacuation_vm_wish, priority, -100, 100, false),
    {0},
};

static const struct json_field group_fields[] = {
    JSON_TEXTS("vms", evacuation_group, vms, LIMIT_EVACUATION_VMS, true),
    {0},
};

const struct json_field evacuation_request_fields[] = {
    JSON_TEXTS("hosts", evacuation_request, hosts, LIMIT_EVACUATION_HOSTS, false),
    JSON_TEXTS("pools", evacuation_request, pools, LIMIT_EVACUATION_HOSTS, false),
    JSON_TEXTS("destination_hosts", evacuation_request, destination_hosts, LIMIT_EVACUATION_HOSTS,
               false),
    JSON_TEXTS("destination_pools", evacuation_request, destination_pools, LIMIT_EVACUATION_HOSTS,
               false),
    JSON_LIST("vms", evacuation_request, vms, evacuation_vm_wish, LIMIT_EVACUATION_VMS, wish_fields,
              false),
    JSON_TEXTS("exclude", evacuation_request, exclude, LIMIT_EVACUATION_VMS, false),
    JSON_TEXTS("pinned", evacuation_request, pinned, LIMIT_EVACUATION_VMS, false),
    JSON_LIST("apart", evacuation_request, apart, evacuation_group, LIMIT_EVACUATION_GROUPS,
              group_fields, false),
    JSON_LIST("together", evacuation_request, together, evacuation_group, LIMIT_EVACUATION_GROUPS,
              group_fields, false),
    {JSON_ROW("mapping", evacuation_request, mapping, JSON_FIELD_ANY, false), .max = LIMIT_MAPPING},
    JSON_CHARS("mapping_set", evacuation_request, mapping_set, 0, false),
    JSON_CHARS("deadline", evacuation_request, deadline, 0, false),
    JSON_ENUM("on_failure", evacuation_request, on_failure, evacuation_on_failure_names, false),
    JSON_INT("at_once", evacuation_request, at_once, 0, LIMIT_EVACUATION_VMS, false),
    JSON_INT("switchovers_at_once", evacuation_request, switchovers_at_once, 0,
             LIMIT_EVACUATION_VMS, false),
    JSON_INT("switchovers_per_host", evacuation_request, switchovers_per_host, 0,
             LIMIT_EVACUATION_VMS, false),
    JSON_INT("retries", evacuation_request, retries, 0, EVACUATION_RETRIES_MOST, false),
    JSON_INT("patience_s", evacuation_request, patience_s, 0, 86400, false),
    JSON_BOOL("may_suspend", evacuation_request, may_suspend, false),
    JSON_BOOL("without_helpers", evacuation_request, is_without_helpers, false),
    JSON_BOOL("without_maintenance", evacuation_request, is_without_maintenance, false),
    {0},
};

bool evacuation_gives_turns(const struct evacuation_request *request)
{
    return request->switchovers_at_once || request->switchovers_per_host;
}

static bool is_at(const struct evacuation_switchover *one, const char *host)
{
    return strcmp(one->source, host) == 0 || strcmp(one->destination, host) == 0;
}

bool evacuation_has_turn(const struct evacuation_request *request,
                         const struct evacuation_switchover *list, size_t count,
                         const struct evacuation_switchover *one)
{
    int own = 0, at_source = 0, at_destination = 0;
    for (size_t i = 0; i < count; i++) {
        if (!list[i].is_going)
            continue;
        own += list[i].is_own;
        at_source += is_at(&list[i], one->source);
        at_destination += is_at(&list[i], one->destination);
    }
    int most = request->switchovers_at_once, most_per_host = request->switchovers_per_host;
    return (!most || own < most) &&
           (!most_per_host || (at_source < most_per_host && at_destination < most_per_host));
}

enum evacuation_state evacuation_end_of(enum evacuation_state state, int moved, int exceptions)
{
    if (state == EVACUATION_CANCELLING)
        return EVACUATION_CANCELLED;
    if (state == EVACUATION_STOPPING || state == EVACUATION_ROLLING_BACK)
        return EVACUATION_FAILED;
    if (exceptions == 0)
        return EVACUATION_SUCCEEDED;
    return moved > 0 ? EVACUATION_SUCCEEDED_WITH_EXCEPTIONS : EVACUATION_FAILED;
}
