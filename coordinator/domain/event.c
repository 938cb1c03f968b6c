/* Kinds of events and who wants them; see event.h. */
#include "coordinator/domain/event.h"

#include <string.h>

const char *const event_resource_names[] = {
    "migrations", "vms", "hosts", "pools", "mapping-sets", "networks", "srs", "evacuations", NULL};

const char *const event_kind_names[] = {"migration.created",
                                        "migration.placed",
                                        "migration.state",
                                        "migration.waiting",
                                        "migration.error",
                                        "migration.progress",
                                        "migration.cancelling",
                                        "vm.appeared",
                                        "vm.gone",
                                        "vm.moved",
                                        "vm.state",
                                        "vm.changed",
                                        "host.created",
                                        "host.state",
                                        "host.maintenance",
                                        "host.up",
                                        "host.lost",
                                        "host.changed",
                                        "pool.created",
                                        "pool.changed",
                                        "pool.removed",
                                        "pool.maintenance",
                                        "mapping_set.created",
                                        "mapping_set.changed",
                                        "mapping_set.removed",
                                        "network.appeared",
                                        "network.changed",
                                        "network.gone",
                                        "sr.appeared",
                                        "sr.changed",
                                        "sr.gone",
                                        "evacuation.created",
                                        "evacuation.state",
                                        "evacuation.planned",
                                        "evacuation.vm",
                                        NULL};

/* How many of `ids`, as PostgreSQL writes an array (one character between them), `pools` holds. */
static size_t count_in(const char *ids, const char *pools, size_t *total)
{
    size_t found = 0;
    char id[UUID_SIZE] = "";
    *total = 0;
    for (const char *p = ids + 1; strnlen(p, UUID_SIZE) == UUID_SIZE; p += UUID_SIZE) {
        memcpy(id, p, UUID_SIZE - 1);
        found += strstr(pools, id) != NULL;
        ++*total;
    }
    return found;
}

/* An evacuation says of all its pools what is there, so it is shown to those alone who may see all
 * of them. */
static bool is_in_scope(const char *scope, const char *resource, const char *pools)
{
    size_t total;
    if (!scope || strcmp(resource, "mapping-sets") == 0)
        return true;
    if (strcmp(resource, "evacuations") == 0)
        return count_in(pools, scope, &total) == total;
    return count_in(scope, pools, &total) > 0;
}

bool event_is_wanted(const struct event_filter *filter, const char *resource, const char *id,
                     const char *pools)
{
    return (!filter->resource[0] || strcmp(filter->resource, resource) == 0) &&
           (!filter->id[0] || strcmp(filter->id, id) == 0) &&
           (!filter->pool[0] || strstr(pools, filter->pool) != NULL) &&
           is_in_scope(filter->scope, resource, pools);
}

static bool is_listed(const char *const words[], const char *word)
{
    for (int i = 0; words[i]; i++) {
        if (strcmp(words[i], word) == 0)
            return true;
    }
    return false;
}

bool event_resource_check(const char *word, struct error *err)
{
    return is_listed(event_resource_names, word) ||
           error_set(err, ERROR_INVALID,
                     "resource \"%.40s\": expected migrations, vms, hosts, pools, mapping-sets, "
                     "networks, srs or evacuations",
                     word);
}

bool event_kind_check(const char *word, struct error *err)
{
    return is_listed(event_kind_names, word) ||
           error_set(err, ERROR_INVALID,
                     "kind \"%.40s\": expected one that EventKind in /openapi.yaml lists", word);
}
