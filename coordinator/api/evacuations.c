/* Evacuations: plan and begin (or only plan, with dry_run), list, show. */
#include "coordinator/api/api.h"
#include "coordinator/api/handlers.h"

#include "base/cleanup.h"
#include "base/json_table.h"
#include "base/log.h"
#include "base/memory.h"
#include "coordinator/domain/mapping.h"
#include "coordinator/scheduler/evacuation.h"
#include "coordinator/security/config.h"
#include "coordinator/store/listing.h"
#include "coordinator/store/mapping_set.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RETRY_AFTER_S = 2 };

/* ---- names to ids ---- */

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

static bool find_groups(const struct http_request *request, const struct json_array *groups,
                        const char *word, struct error *err)
{
    const struct evacuation_group *items = groups->items;
    for (size_t i = 0; i < groups->count; i++) {
        char pointer[64];
        snprintf(pointer, sizeof pointer, "/%s/%zu/vms", word, i);
        if (!find_all(request, listing_find_vm, &items[i].vms, pointer, err))
            return false;
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

static bool find_wishes(const struct http_request *request, struct evacuation_request *wanted,
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
            return error_set(err, ERROR_INVALID,
                             "/vms/%zu/vm: expected a VM of the hosts that are emptied, \"%.60s\" "
                             "is none",
                             i, wish->vm);
        if (wish->host[0] &&
            !listing_find_host(request->db, request->token.scope, wish->host, host, err))
            return error_prefix(err, "/vms/%zu/host", i);
        if (wish->host[0] && has_id(&wanted->hosts, host))
            return error_set(err, ERROR_INVALID,
                             "/vms/%zu/host: expected a host that stays, \"%.60s\" is emptied", i,
                             wish->host);
        snprintf(wish->vm, sizeof wish->vm, "%s", vm);
        if (wish->host[0])
            snprintf(wish->host, sizeof wish->host, "%s", host);
    }
    return true;
}

/* The hosts of emptied pools are emptied, one by one. */
static bool add_hosts_of_pools(const struct http_request *request,
                               struct evacuation_request *wanted, struct error *err)
{
    for (size_t i = 0; i < wanted->pools.count; i++) {
        auto_db_rows struct db_rows *rows = NULL;
        const char *pool = ((char **)wanted->pools.items)[i];
        if (!evacuation_store_hosts_of(request->db, pool, &rows, err))
            return false;
        for (int k = 0; k < db_count(rows); k++)
            add_id(&wanted->hosts, db_value(rows, k, "id"));
    }
    return wanted->hosts.count <= LIMIT_EVACUATION_HOSTS ||
           error_set(err, ERROR_INVALID, "%zu hosts are to be emptied: expected at most %d",
                     wanted->hosts.count, (int)LIMIT_EVACUATION_HOSTS);
}

/* A new plan is made without the caller's scope, so what he may see is written down. */
static bool name_destinations(const struct http_request *request, struct evacuation_request *wanted,
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
    return true;
}

static bool check_ends(const struct evacuation_request *wanted, struct error *err)
{
    for (size_t i = 0; i < wanted->destination_hosts.count; i++) {
        if (has_id(&wanted->hosts, ((char **)wanted->destination_hosts.items)[i]))
            return error_set(err, ERROR_INVALID,
                             "/destination_hosts/%zu: expected a host that is not emptied", i);
    }
    for (size_t i = 0; i < wanted->destination_pools.count; i++) {
        if (has_id(&wanted->pools, ((char **)wanted->destination_pools.items)[i]))
            return error_set(err, ERROR_INVALID,
                             "/destination_pools/%zu: expected a pool that is not emptied", i);
    }
    return true;
}

static bool find_names(const struct http_request *request, struct evacuation_request *wanted,
                       struct error *err)
{
    if (wanted->hosts.count + wanted->pools.count == 0)
        return error_set(err, ERROR_INVALID,
                         "expected at least one host in \"hosts\" or pool in \"pools\" to empty");
    return find_all(request, listing_find_host, &wanted->hosts, "/hosts", err) &&
           find_all(request, listing_find_pool, &wanted->pools, "/pools", err) &&
           find_all(request, listing_find_host, &wanted->destination_hosts, "/destination_hosts",
                    err) &&
           find_all(request, listing_find_pool, &wanted->destination_pools, "/destination_pools",
                    err) &&
           add_hosts_of_pools(request, wanted, err) && check_ends(wanted, err) &&
           find_wishes(request, wanted, err) &&
           find_all(request, listing_find_vm, &wanted->exclude, "/exclude", err) &&
           find_all(request, listing_find_vm, &wanted->pinned, "/pinned", err) &&
           find_groups(request, &wanted->apart, "apart", err) &&
           find_groups(request, &wanted->together, "together", err) &&
           name_destinations(request, wanted, err);
}

/* The effective map takes the place of the request's. Single disks and VIFs are those of one VM. */
static bool find_maps(struct db *db, struct evacuation_request *wanted, struct error *err)
{
    struct mapping own = {0}, set = {0}, whole = {0};
    char id[UUID_SIZE];
    auto_free char *text = NULL;
    bool is_done = !wanted->mapping || mapping_decode(wanted->mapping, &own, err) ||
                   error_prefix(err, "/mapping");
    if (is_done && own.disks.count + own.vifs.count > 0)
        is_done = error_set(err, ERROR_INVALID,
                            "/mapping: expected \"networks\" and \"srs\" alone: disks and VIFs are "
                            "those of one VM");
    if (is_done && wanted->mapping_set[0])
        is_done = mapping_set_find(db, wanted->mapping_set, id, &text, err) &&
                  mapping_decode(text, &set, err);
    if (is_done) {
        mapping_overlay(&set, &own, &whole);
        free(wanted->mapping);
        wanted->mapping = mapping_encode(&whole);
    }
    mapping_done(&own);
    mapping_done(&set);
    mapping_done(&whole);
    return is_done;
}

static bool check_deadline(struct db *db, const struct evacuation_request *wanted, bool is_dry_run,
                           struct error *err)
{
    double seconds = 0;
    if (!wanted->deadline[0])
        return true;
    if (!api_check_time("/deadline", wanted->deadline, err))
        return false;
    if (!evacuation_store_seconds_to(db, wanted->deadline, &seconds, err))
        return error_prefix(err, "/deadline");
    return seconds > 0 || is_dry_run ||
           error_set(err, ERROR_INVALID, "/deadline: expected a time to come, %s is past",
                     wanted->deadline);
}

static bool read_request(const struct http_request *request, bool is_dry_run,
                         struct evacuation_request *out, struct error *err)
{
    struct evacuation_request wanted = {.retries = 1, .patience_s = EVACUATION_PATIENCE_S};
    if (!json_decode_text(request->body, request->body_size, evacuation_request_fields, &wanted,
                          err))
        return false;
    if (!check_deadline(request->db, &wanted, is_dry_run, err) ||
        !find_maps(request->db, &wanted, err) || !find_names(request, &wanted, err)) {
        json_release(evacuation_request_fields, &wanted);
        return false;
    }
    *out = wanted;
    return true;
}

/* ---- answers ---- */

void api_evacuation_accepted(const char *id, struct http_answer *answer)
{
    answer->status = 202;
    answer->retry_after_s = RETRY_AFTER_S;
    snprintf(answer->location, sizeof answer->location, "/v1/evacuations/%s", id);
}

/* `vms` of a plan as refusals: who, and every reason. */
static json_t *refusals_json(const struct evacuation_planning *planning)
{
    json_t *list = json_array();
    for (size_t i = 0; i < planning->count; i++) {
        const struct evacuation_wish *wish = &planning->wishes[i];
        if (!wish->is_skipped)
            json_array_append_new(
                list, json_pack("{s:s, s:O?}", "vm", wish->vm, "reasons", wish->reasons));
    }
    return list;
}

void api_evacuation_blocked(const struct http_request *request,
                            const struct evacuation_planning *planning, struct http_answer *answer)
{
    struct error why;
    error_set(&why, ERROR_CONFLICT,
              "none of the VMs can move; \"refused\" has every reason of each");
    auto_free char *text = http_problem(&why, request->id);
    json_t *problem = json_loads(text, 0, NULL);
    json_object_set_new(problem, "refused", refusals_json(planning));
    http_answer_json(answer, http_status_of(why.code), problem);
    answer->content_type = "application/problem+json";
}

static bool create(struct http_request *request, const struct evacuation_maker *maker,
                   const struct evacuation_request *wanted, struct http_answer *answer,
                   struct error *err)
{
    char id[UUID_SIZE];
    struct evacuation_planning planning = {0};
    bool is_done = evacuation_create(request->db, maker, wanted, &planning, id, err);
    if (is_done && !id[0])
        api_evacuation_blocked(request, &planning, answer);
    if (is_done && id[0]) {
        is_done = evacuation_store_show(request->db, maker->scope, id, false, &answer->body, err);
        if (is_done) {
            log_info("evacuation %s: made by %s, %zu of %zu VMs planned", id, request->token.name,
                     planning.planned, planning.count);
            http_audit(request, "evacuation", id, NULL, answer->body);
            api_evacuation_accepted(id, answer);
        }
    }
    evacuation_planning_done(&planning);
    return is_done;
}

/* Made on a connection of its own and rolled back there, so that the answer is what would be shown
 * of it. What cannot be made is shown too: its VMs are refused. */
static bool look(const struct api_context *api, const struct evacuation_maker *maker,
                 const struct evacuation_request *wanted, struct http_answer *answer,
                 struct error *err)
{
    auto_db struct db *db = NULL;
    char id[UUID_SIZE];
    struct evacuation_planning planning = {0};
    if (!api_take(api, &db, err) || !db_begin(db, err))
        return false;
    bool is_done = evacuation_create(db, maker, wanted, &planning, id, err) &&
                   (id[0] || evacuation_insert(db, &planning, id, err)) &&
                   evacuation_store_show(db, maker->scope, id, true, &answer->body, err);
    db_rollback(db);
    evacuation_planning_done(&planning);
    return is_done;
}

static bool read_dry_run(const struct http_request *request, bool *is_dry_run, struct error *err)
{
    static const char *const allowed[] = {"dry_run", NULL};
    if (!http_query_only(request, allowed, err))
        return false;
    const char *value = http_query(request, "dry_run");
    *is_dry_run = value && strcmp(value, "true") == 0;
    if (value && !*is_dry_run && strcmp(value, "false") != 0)
        return error_set(err, ERROR_INVALID, "query parameter dry_run: expected true or false");
    return true;
}

bool api_evacuations_create(void *context, struct http_request *request, bool is_last_call,
                            struct http_answer *answer, struct error *err)
{
    const struct api_context *api = context;
    (void)is_last_call;
    bool is_dry_run = false;
    struct evacuation_request wanted = {0};
    const struct evacuation_maker maker = {.scope = request->token.scope,
                                           .created_by = request->token.name,
                                           .host_lost_after_s = api->config->host_lost_after_s};
    if (!read_dry_run(request, &is_dry_run, err) ||
        !read_request(request, is_dry_run, &wanted, err))
        return false;
    bool is_done = is_dry_run ? look(api, &maker, &wanted, answer, err)
                              : create(request, &maker, &wanted, answer, err);
    json_release(evacuation_request_fields, &wanted);
    return is_done;
}

static bool read_state(const struct http_request *request, const char **state, struct error *err)
{
    const char *word = http_query(request, "state");
    bool is_known = !word || strcmp(word, "active") == 0;
    for (int i = 0; evacuation_state_names[i] && !is_known; i++)
        is_known = strcmp(word, evacuation_state_names[i]) == 0;
    *state = word;
    return is_known ||
           error_set(err, ERROR_INVALID,
                     "query parameter state: expected \"active\" or an evacuation's state");
}

bool api_evacuations_list(void *context, struct http_request *request, bool is_last_call,
                          struct http_answer *answer, struct error *err)
{
    static const char *const more[] = {"state", NULL};
    (void)context;
    (void)is_last_call;
    struct page page;
    const char *state = NULL;
    return api_page(request, more, &page, err) && read_state(request, &state, err) &&
           evacuation_store_list(request->db, &page, state, &answer->body, err);
}

bool api_evacuation_look(const struct http_request *request, char **body, struct error *err)
{
    static const char *const allowed[] = {NULL};
    const char *id = request->parameters[0];
    if (!http_query_only(request, allowed, err))
        return false;
    if (!uuid_is_valid(id))
        return error_set(err, ERROR_NOT_FOUND,
                         "evacuation %.80s does not exist: GET /v1/evacuations lists them", id);
    return evacuation_store_show(request->db, request->token.scope, id, false, body, err);
}

bool api_evacuations_show(void *context, struct http_request *request, bool is_last_call,
                          struct http_answer *answer, struct error *err)
{
    (void)context;
    (void)is_last_call;
    return api_evacuation_look(request, &answer->body, err);
}

bool api_evacuations_current(void *context, struct http_request *request, bool is_last_call,
                             struct http_answer *answer, struct error *err)
{
    (void)context;
    (void)is_last_call;
    auto_free char *before = NULL;
    auto_evacuation_row struct evacuation_row row = {0};
    return api_evacuation_look(request, &before, err) &&
           evacuation_store_lock(request->db, request->parameters[0], &row, err) &&
           evacuation_store_show(request->db, request->token.scope, row.id, false, &answer->body,
                                 err);
}
