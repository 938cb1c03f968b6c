/* The body of POST /v1/evacuations: strictly decoded, checked, and every name looked up once. */
#include "coordinator/api/api.h"

#include "base/cleanup.h"
#include "base/json_table.h"
#include "base/memory.h"
#include "coordinator/domain/mapping.h"
#include "coordinator/scheduler/evacuation.h"
#include "coordinator/store/listing.h"
#include "coordinator/store/mapping_set.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef bool find_object(struct db *db, const char *scope, const char *id_or_name,
                         char id[UUID_SIZE], struct error *err);

static bool find_all(const struct http_request *request, find_object *find,
                     const struct json_array *words, const char *pointer, struct error *err)
{
    char **items = words->items;
    for (size_t i = 0; i < words->count; i++) {
        char id[UUID_SIZE];
        if (!find(request->db, request->token.scope, items[i], id, err))
            return error_prefix(err, "%s/%zu", pointer, i);
        free(items[i]);
        items[i] = memory_copy_text(id);
    }
    return true;
}

static bool has_id(const struct json_array *ids, const char *id)
{
    for (size_t i = 0; i < ids->count; i++) {
        if (strcmp(((char **)ids->items)[i], id) == 0)
            return true;
    }
    return false;
}

static void add_id(struct json_array *ids, const char *id)
{
    if (has_id(ids, id))
        return;
    char **items = memory_resize(ids->items, ids->count + 1, sizeof *items);
    items[ids->count++] = memory_copy_text(id);
    ids->items = items;
}

/* False: at "/list/index", and there at `member` ("/vm", or ""), stands a word that is not what is
 * expected. */
static bool wrong_item(struct http_request *request, const char *list, size_t index,
                       const char *member, const char *expected, const char *word,
                       struct error *err)
{
    char pointer[96];
    snprintf(pointer, sizeof pointer, "/%s/%zu%s", list, index, member);
    error_set(err, ERROR_INVALID, "expected %s, \"%.60s\" is none", expected, word);
    return http_wrong_member(request, pointer, expected, err);
}

static bool check_members(struct http_request *request, size_t members, const char *word,
                          struct error *err)
{
    char pointer[64];
    if (members <= LIMIT_EVACUATION_VMS)
        return true;
    snprintf(pointer, sizeof pointer, "/%s", word);
    error_set(err, ERROR_INVALID, "expected at most %d VMs in all groups together, not %zu",
              (int)LIMIT_EVACUATION_VMS, members);
    return http_wrong_member(request, pointer, "fewer VMs in all groups together", err);
}

/* `seen`: members of all groups before this one. */
static bool check_once(struct http_request *request, const struct evacuation_group *group,
                       const char *list, const struct json_array *seen, struct error *err)
{
    for (size_t i = 0; i < group->vms.count; i++) {
        const char *vm = ((char **)group->vms.items)[i];
        if (has_id(seen, vm))
            return wrong_item(request, list, i, "", "a VM that is in one such group only", vm, err);
    }
    return true;
}

static bool find_together(struct http_request *request, const struct json_array *groups,
                          struct json_array *seen, struct error *err)
{
    const struct evacuation_group *items = groups->items;
    for (size_t i = 0; i < groups->count; i++) {
        char list[64];
        snprintf(list, sizeof list, "together/%zu/vms", i);
        if (!check_once(request, &items[i], list, seen, err))
            return false;
        for (size_t k = 0; k < items[i].vms.count; k++)
            add_id(seen, ((char **)items[i].vms.items)[k]);
    }
    return true;
}

static bool find_groups(struct http_request *request, const struct evacuation_request *wanted,
                        const struct json_array *groups, const char *word, struct error *err)
{
    const struct evacuation_group *items = groups->items;
    size_t members = 0;
    for (size_t i = 0; i < groups->count; i++)
        members += items[i].vms.count;
    for (size_t i = 0; groups == &wanted->together && i < wanted->apart.count; i++)
        members += ((const struct evacuation_group *)wanted->apart.items)[i].vms.count;
    if (!check_members(request, members, word, err))
        return false;
    for (size_t i = 0; i < groups->count; i++) {
        char pointer[64];
        snprintf(pointer, sizeof pointer, "/%s/%zu/vms", word, i);
        if (!find_all(request, listing_find_vm, &items[i].vms, pointer, err))
            return false;
    }
    return true;
}

static bool check_together(struct http_request *request, const struct evacuation_request *wanted,
                           struct error *err)
{
    struct json_array seen = {0};
    bool is_done = find_together(request, &wanted->together, &seen, err);
    for (size_t i = 0; i < seen.count; i++)
        free(((char **)seen.items)[i]);
    free(seen.items);
    return is_done;
}

static bool find_wishes(struct http_request *request, struct evacuation_request *wanted,
                        struct error *err)
{
    struct evacuation_vm_wish *wishes = wanted->vms.items;
    for (size_t i = 0; i < wanted->vms.count; i++) {
        struct evacuation_vm_wish *wish = &wishes[i];
        char vm[UUID_SIZE], host[UUID_SIZE], at[UUID_SIZE];
        if (!listing_find_vm(request->db, request->token.scope, wish->vm, vm, err) ||
            !evacuation_store_host_of_vm(request->db, vm, at, err))
            return error_prefix(err, "/vms/%zu/vm", i);
        if (!has_id(&wanted->hosts, at))
            return wrong_item(request, "vms", i, "/vm", "a VM of the hosts that are emptied",
                              wish->vm, err);
        if (wish->host[0] &&
            !listing_find_host(request->db, request->token.scope, wish->host, host, err))
            return error_prefix(err, "/vms/%zu/host", i);
        if (wish->host[0] && has_id(&wanted->hosts, host))
            return wrong_item(request, "vms", i, "/host", "a host that is not emptied", wish->host,
                              err);
        snprintf(wish->vm, sizeof wish->vm, "%s", vm);
        if (wish->host[0])
            snprintf(wish->host, sizeof wish->host, "%s", host);
    }
    return true;
}

/* The hosts of emptied pools are emptied, one by one. */
static bool add_hosts_of_pools(struct http_request *request, struct evacuation_request *wanted,
                               struct error *err)
{
    for (size_t i = 0; i < wanted->pools.count; i++) {
        auto_db_rows struct db_rows *rows = NULL;
        const char *pool = ((char **)wanted->pools.items)[i];
        if (!evacuation_store_hosts_of(request->db, pool, &rows, err))
            return false;
        for (int k = 0; k < db_count(rows); k++)
            add_id(&wanted->hosts, db_value(rows, k, "id"));
    }
    if (wanted->hosts.count <= LIMIT_EVACUATION_HOSTS)
        return true;
    error_set(err, ERROR_INVALID, "%zu hosts are to be emptied: expected at most %d",
              wanted->hosts.count, (int)LIMIT_EVACUATION_HOSTS);
    return http_wrong_member(request, "/pools", "pools of fewer hosts", err);
}

/* A new plan is made without the caller's scope, so what he may see is written down. */
static bool name_destinations(struct http_request *request, struct evacuation_request *wanted,
                              struct error *err)
{
    auto_db_rows struct db_rows *rows = NULL;
    if (wanted->destination_hosts.count + wanted->destination_pools.count > 0)
        return true;
    if (!evacuation_store_pools(request->db, request->token.scope, &rows, err))
        return false;
    for (int i = 0; i < db_count(rows); i++) {
        const char *id = db_value(rows, i, "id");
        if (!has_id(&wanted->pools, id))
            add_id(&wanted->destination_pools, id);
    }
    if (wanted->destination_pools.count <= LIMIT_EVACUATION_HOSTS)
        return true;
    error_set(err, ERROR_INVALID,
              "expected destinations: \"everywhere\" is %zu pools, at most %d do",
              wanted->destination_pools.count, (int)LIMIT_EVACUATION_HOSTS);
    return http_wrong_member(request, "/destination_pools", "the pools that are destinations", err);
}

static bool check_ends(struct http_request *request, const struct evacuation_request *wanted,
                       struct error *err)
{
    char **hosts = wanted->destination_hosts.items, **pools = wanted->destination_pools.items;
    for (size_t i = 0; i < wanted->destination_hosts.count; i++) {
        if (has_id(&wanted->hosts, hosts[i]))
            return wrong_item(request, "destination_hosts", i, "", "a host that is not emptied",
                              hosts[i], err);
    }
    for (size_t i = 0; i < wanted->destination_pools.count; i++) {
        if (has_id(&wanted->pools, pools[i]))
            return wrong_item(request, "destination_pools", i, "", "a pool that is not emptied",
                              pools[i], err);
    }
    return true;
}

static bool find_names(struct http_request *request, struct evacuation_request *wanted,
                       struct error *err)
{
    if (wanted->hosts.count + wanted->pools.count == 0) {
        error_set(err, ERROR_INVALID,
                  "expected at least one host in \"hosts\" or pool in \"pools\" to empty");
        return http_wrong_member(request, "/hosts", "at least one host, or a pool in \"pools\"",
                                 err);
    }
    return find_all(request, listing_find_host, &wanted->hosts, "/hosts", err) &&
           find_all(request, listing_find_pool, &wanted->pools, "/pools", err) &&
           find_all(request, listing_find_host, &wanted->destination_hosts, "/destination_hosts",
                    err) &&
           find_all(request, listing_find_pool, &wanted->destination_pools, "/destination_pools",
                    err) &&
           add_hosts_of_pools(request, wanted, err) && check_ends(request, wanted, err) &&
           find_wishes(request, wanted, err) &&
           find_all(request, listing_find_vm, &wanted->exclude, "/exclude", err) &&
           find_all(request, listing_find_vm, &wanted->pinned, "/pinned", err) &&
           find_groups(request, wanted, &wanted->apart, "apart", err) &&
           find_groups(request, wanted, &wanted->together, "together", err) &&
           check_together(request, wanted, err) && name_destinations(request, wanted, err);
}

/* The set and the request's own map may be too much together. */
static bool check_whole(struct http_request *request, const char *text, struct error *err)
{
    struct mapping again = {0};
    if (strlen(text) <= LIMIT_MAPPING && mapping_decode(text, &again, NULL, err)) {
        mapping_done(&again);
        return true;
    }
    error_set(err, ERROR_INVALID,
              "expected at most %d entries of a kind and %d bytes together with the mapping set",
              (int)LIMIT_MAPPING_ENTRIES, (int)LIMIT_MAPPING);
    return http_wrong_member(request, "/mapping", "fewer entries, together with the set", err);
}

/* The effective map takes the place of the request's. Single disks and VIFs are those of one VM. */
static bool find_maps(struct http_request *request, struct evacuation_request *wanted,
                      struct error *err)
{
    struct mapping own = {0}, set = {0}, whole = {0};
    char id[UUID_SIZE];
    auto_free char *text = NULL;
    bool is_done = !wanted->mapping || api_mapping(request, "/mapping", wanted->mapping, &own, err);
    if (is_done && own.disks.count + own.vifs.count > 0) {
        error_set(err, ERROR_INVALID,
                  "expected \"networks\" and \"srs\" alone: disks and VIFs are those of one VM");
        is_done = http_wrong_member(request, "/mapping", "\"networks\" and \"srs\" alone", err);
    }
    if (is_done && wanted->mapping_set[0])
        is_done = mapping_set_find(request->db, wanted->mapping_set, id, &text, err) &&
                  mapping_decode(text, &set, NULL, err);
    if (is_done) {
        mapping_overlay(&set, &own, &whole);
        free(wanted->mapping);
        wanted->mapping = mapping_encode(&whole);
        is_done = check_whole(request, wanted->mapping, err);
    }
    mapping_done(&own);
    mapping_done(&set);
    mapping_done(&whole);
    return is_done;
}

static bool check_deadline(struct http_request *request, const struct evacuation_request *wanted,
                           bool is_dry_run, struct error *err)
{
    static const char expected[] = "a time to come, such as 2026-01-31T12:00:00Z";
    double seconds = 0;
    if (!wanted->deadline[0])
        return true;
    if (!api_is_time(wanted->deadline)) {
        error_set(err, ERROR_INVALID, "expected %s", expected);
        return http_wrong_member(request, "/deadline", expected, err);
    }
    if (!evacuation_store_seconds_to(request->db, wanted->deadline, &seconds, err))
        return error_prefix(err, "/deadline");
    if (seconds > 0 || is_dry_run)
        return true;
    error_set(err, ERROR_INVALID, "expected a time to come, %s is past", wanted->deadline);
    return http_wrong_member(request, "/deadline", expected, err);
}

bool api_evacuation_read(struct http_request *request, bool is_dry_run,
                         struct evacuation_request *out, struct error *err)
{
    struct evacuation_request wanted = {.retries = EVACUATION_RETRIES,
                                        .patience_s = EVACUATION_PATIENCE_S,
                                        .switchovers_per_host = EVACUATION_SWITCHOVERS_PER_HOST};
    if (!http_body(request, evacuation_request_fields, &wanted, err))
        return false;
    if (!check_deadline(request, &wanted, is_dry_run, err) || !find_maps(request, &wanted, err) ||
        !find_names(request, &wanted, err)) {
        json_release(evacuation_request_fields, &wanted);
        return false;
    }
    *out = wanted;
    return true;
}
