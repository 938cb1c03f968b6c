/* Migrations: create (or only look, with dry_run), list, show, cancel. */
#include "coordinator/api/api.h"
#include "coordinator/api/handlers.h"

#include "base/cleanup.h"
#include "base/json_table.h"
#include "base/log.h"
#include "coordinator/scheduler/admission.h"
#include "coordinator/scheduler/transition.h"
#include "coordinator/security/config.h"
#include "coordinator/store/listing.h"
#include "coordinator/store/mapping_set.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct destination_request {
    char pool[LIMIT_NAME + 1];
    char host[LIMIT_NAME + 1]; /* "" = any of the pool */
};
static const struct json_field destination_fields[] = {
    JSON_CHARS("pool", destination_request, pool, 1, true),
    JSON_CHARS("host", destination_request, host, 1, false),
    {0},
};

struct create_request {
    char vm[LIMIT_NAME + 1];
    struct destination_request destination;
    char *mapping; /* its own strict decoding follows */
    char mapping_set[LIMIT_NAME + 1];
    enum migration_mode mode; /* live when absent */
    int stall_limit_ms;
    int parallel_disks;
    struct migration_policy policy;
    char *switchover; /* its own strict decoding follows */
};
static const struct json_field create_fields[] = {
    JSON_CHARS("vm", create_request, vm, 1, true),
    JSON_OBJECT("destination", create_request, destination, destination_fields, true),
    {JSON_ROW("mapping", create_request, mapping, JSON_FIELD_ANY, false), .max = LIMIT_MAPPING},
    JSON_CHARS("mapping_set", create_request, mapping_set, 1, false),
    JSON_ENUM("mode", create_request, mode, migration_mode_names, false),
    JSON_BYTES("bandwidth_bytes_per_s", create_request, policy.bandwidth_bytes_per_s, false),
    JSON_INT("stall_limit_ms", create_request, stall_limit_ms, 100, 600000, false),
    JSON_INT("parallel_disks", create_request, parallel_disks, 1, LIMIT_DISKS, false),
    JSON_INT("priority", create_request, policy.priority, POLICY_PRIORITY_LEAST,
             POLICY_PRIORITY_MOST, false),
    JSON_INT("retries", create_request, policy.retries, 0, POLICY_RETRIES_MOST, false),
    JSON_INT("stall_timeout_s", create_request, policy.stall_timeout_s,
             POLICY_STALL_TIMEOUT_LEAST_S, POLICY_STALL_TIMEOUT_MOST_S, false),
    JSON_CHARS("network", create_request, policy.network, 1, false),
    {JSON_ROW("switchover", create_request, switchover, JSON_FIELD_ANY, false),
     .max = SWITCHOVER_TEXT},
    {0},
};
enum {
    STALL_LIMIT_DEFAULT_MS = 2000,
    PARALLEL_DISKS_DEFAULT = 1,
    LIST_KEEP_MS = 1000, /* any host of a list can fall silent */
};

/* The request with its names looked up. */
struct creation {
    char vm[UUID_SIZE], pool[UUID_SIZE], host[UUID_SIZE], set[UUID_SIZE];
    struct admission_request admission;
};

static void creation_done(struct creation *creation)
{
    mapping_done(&creation->admission.set);
    mapping_done(&creation->admission.inline_map);
}

static bool find_maps(struct http_request *request, const struct create_request *wanted,
                      struct creation *out, struct error *err)
{
    if (wanted->mapping &&
        !api_mapping(request, "/mapping", wanted->mapping, &out->admission.inline_map, err))
        return false;
    if (!wanted->mapping_set[0])
        return true;
    auto_free char *text = NULL;
    return mapping_set_find(request->db, wanted->mapping_set, out->set, &text, err) &&
           mapping_decode(text, &out->admission.set, NULL, err);
}

static bool find_objects(const struct http_request *request, const struct create_request *wanted,
                         struct creation *out, struct error *err)
{
    const char *scope = request->token.scope; /* both ends have to be in it */
    if (!listing_find_vm(request->db, scope, wanted->vm, out->vm, err) ||
        !listing_find_pool(request->db, scope, wanted->destination.pool, out->pool, err))
        return false;
    if (!wanted->destination.host[0])
        return true;
    return listing_find_host_in(request->db, scope, wanted->destination.host, out->pool, out->host,
                                err);
}

static bool read_creation(const struct api_context *api, struct http_request *request,
                          struct creation *out, struct error *err)
{
    struct create_request wanted = {.stall_limit_ms = STALL_LIMIT_DEFAULT_MS,
                                    .parallel_disks = PARALLEL_DISKS_DEFAULT,
                                    .policy.stall_timeout_s = POLICY_STALL_TIMEOUT_S};
    if (!http_body(request, create_fields, &wanted, err))
        return false;
    if (wanted.switchover && !api_switchover(request, "/switchover", wanted.switchover,
                                             &wanted.policy.switchover, err)) {
        json_release(create_fields, &wanted);
        return false;
    }
    out->admission =
        (struct admission_request){.vm = out->vm,
                                   .pool = out->pool,
                                   .host = wanted.destination.host[0] ? out->host : NULL,
                                   .mode = wanted.mode,
                                   .policy = wanted.policy,
                                   .stall_limit_ms = wanted.stall_limit_ms,
                                   .parallel_disks = wanted.parallel_disks,
                                   .created_by = request->token.name,
                                   .traceparent = request->traceparent,
                                   .host_lost_after_s = api->config->host_lost_after_s};
    bool is_found =
        find_maps(request, &wanted, out, err) && find_objects(request, &wanted, out, err);
    json_release(create_fields, &wanted);
    if (!is_found)
        creation_done(out);
    return is_found;
}

/* ---- answers ---- */

static json_t *blockers_json(const struct blocker *items, size_t count)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, json_encode(blocker_fields, &items[i]));
    return list;
}

static const char *sr_name(const struct preflight_host *host, const char *id)
{
    for (size_t i = 0; i < host->sr_count; i++) {
        if (strcmp(host->srs[i].id, id) == 0)
            return host->srs[i].name;
    }
    return id;
}

/* The map as it was given, and with no blockers where each single disk and VIF goes. */
static json_t *mapping_json(const struct admission *admission)
{
    const struct preflight_input *in = &admission->input;
    const struct preflight_result *result = &admission->result;
    auto_free char *text = mapping_encode(&in->mapping);
    json_t *map = json_loads(text, 0, NULL);
    for (size_t i = 0; result->disks && i < in->disk_count; i++) {
        const struct spec_vdi *to = &result->disks[i].destination;
        json_object_set_new(json_object_get(map, "disks"), result->disks[i].device,
                            json_pack("{s:s, s:s}", "sr", sr_name(result->host, to->sr), "format",
                                      image_format_names[to->format]));
    }
    for (size_t i = 0; result->vifs && i < in->vif_count; i++)
        json_object_set_new(json_object_get(map, "vifs"), result->vifs[i].mac,
                            json_string(result->vifs[i].destination_network));
    return map;
}

static json_t *known(int64_t value)
{
    return value < 0 ? json_null() : json_integer(value);
}

/* Why there is no time, or null. */
static json_t *unknown_json(const struct admission *admission)
{
    const struct preflight_host *host = admission->result.host;
    if (admission->result.prediction.seconds >= 0)
        return json_null();
    if (!host)
        return json_string("no host can take the VM");
    return json_sprintf("no move from host %s to host %s was measured yet",
                        admission->input.source.name, host->name);
}

/* The least time is what the bandwidth cap alone demands; the others come from what earlier moves
 * between these hosts have measured (coordinator/domain/prediction.h). */
static json_t *predicted_json(const struct admission *admission, uint64_t bandwidth_bytes_per_s)
{
    const struct preflight_result *result = &admission->result;
    const struct prediction *prediction = &result->prediction;
    uint64_t sent = result->allocated_bytes + admission->input.memory_bytes;
    json_t *least =
        bandwidth_bytes_per_s
            ? json_integer((json_int_t)(result->allocated_bytes / bandwidth_bytes_per_s))
            : json_null();
    return json_pack("{s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:o}", "disk_bytes",
                     (json_int_t)result->disk_bytes, "allocated_bytes",
                     (json_int_t)result->allocated_bytes, "memory_bytes",
                     (json_int_t)admission->input.memory_bytes, "send_bytes", (json_int_t)sent,
                     "least_s", least, "seconds", known(prediction->seconds), "pause_ms",
                     known(prediction->pause_ms), "unknown_because", unknown_json(admission));
}

static json_t *host_json(const struct preflight_host *host)
{
    return host ? json_pack("{s:s, s:s}", "id", host->id, "name", host->name) : json_null();
}

static bool answer_check(struct http_request *request, const struct creation *creation,
                         struct http_answer *answer, struct error *err)
{
    struct admission admission = {0};
    if (!admission_check(request->db, &creation->admission, &admission, err))
        return false;
    bool can_move = admission.result.count == 0;
    http_answer_json(
        answer, 200,
        json_pack("{s:b, s:o, s:o, s:o, s:o, s:o}", "can_move", can_move, "host",
                  host_json(admission.result.host), "blockers",
                  blockers_json(admission.result.blockers, admission.result.count), "warnings",
                  blockers_json(admission.result.warnings.items, admission.result.warnings.count),
                  "mapping", mapping_json(&admission), "predicted",
                  predicted_json(&admission, creation->admission.policy.bandwidth_bytes_per_s)));
    admission_done(&admission);
    return true;
}

static void answer_blocked(const struct http_request *request, const struct admission *admission,
                           struct http_answer *answer)
{
    struct error why;
    error_set(&why, ERROR_CONFLICT, "VM %.80s cannot move: %zu blocker%s, the first: %s",
              admission->input.vm_name, admission->result.count,
              admission->result.count == 1 ? "" : "s", admission->result.blockers[0].message);
    auto_free char *text = http_problem(&why, NULL, request->id);
    json_t *problem = json_loads(text, 0, NULL);
    json_object_set_new(problem, "blockers",
                        blockers_json(admission->result.blockers, admission->result.count));
    http_answer_json(answer, http_status_of(why.code), problem);
    answer->content_type = "application/problem+json";
}

static bool answer_created(const struct api_context *api, struct http_request *request,
                           const char *id, struct http_answer *answer, struct error *err)
{
    struct error later;
    if (!admission_start(request->db, id, api->config->host_lost_after_s, &later))
        log_warning("migration %s stays queued: %s", id, later.text);
    if (!migration_store_show(request->db, id, api->config->host_lost_after_s, &answer->body, err))
        return false;
    http_audit(request, "migration", id, NULL, answer->body);
    api_migration_accepted(id, answer);
    return true;
}

static bool create(const struct api_context *api, struct http_request *request,
                   const struct creation *creation, struct http_answer *answer, struct error *err)
{
    struct admission admission = {0};
    char id[UUID_SIZE];
    if (!admission_create(request->db, &creation->admission, &admission, id, err))
        return false;
    bool is_blocked = admission.result.count > 0;
    if (is_blocked)
        answer_blocked(request, &admission, answer);
    admission_done(&admission);
    return is_blocked || answer_created(api, request, id, answer, err);
}

static bool read_dry_run(struct http_request *request, bool *is_dry_run, struct error *err)
{
    static const char *const allowed[] = {"dry_run", NULL};
    if (!http_query_only(request, allowed, err))
        return false;
    const char *value = http_query(request, "dry_run");
    *is_dry_run = value && strcmp(value, "true") == 0;
    if (value && !*is_dry_run && strcmp(value, "false") != 0)
        return http_wrong_parameter(request, "dry_run", "true or false", err);
    return true;
}

bool api_migrations_create(void *context, struct http_request *request, bool is_last_call,
                           struct http_answer *answer, struct error *err)
{
    const struct api_context *api = context;
    (void)is_last_call;
    bool is_dry_run = false;
    struct creation creation = {0};
    if (!read_dry_run(request, &is_dry_run, err) || !read_creation(api, request, &creation, err))
        return false;
    bool is_done = is_dry_run ? answer_check(request, &creation, answer, err)
                              : create(api, request, &creation, answer, err);
    creation_done(&creation);
    return is_done;
}

bool api_migrations_list(void *context, struct http_request *request, bool is_last_call,
                         struct http_answer *answer, struct error *err)
{
    const struct api_context *api = context;
    (void)is_last_call;
    struct db_text seconds = db_int(api->config->host_lost_after_s);
    answer->keep_ms = LIST_KEEP_MS;
    return api_list(request, &migration_list,
                    (const char *const[]){seconds.text, request->token.scope}, answer, err);
}

static bool check_id(struct http_request *request, struct error *err)
{
    static const char *const allowed[] = {NULL};
    if (!http_query_only(request, allowed, err))
        return false;
    return uuid_is_valid(request->parameters[0]) ||
           error_set(err, ERROR_NOT_FOUND,
                     "migration \"%.80s\" does not exist: GET /v1/migrations lists them",
                     request->parameters[0]);
}

bool api_migrations_show(void *context, struct http_request *request, bool is_last_call,
                         struct http_answer *answer, struct error *err)
{
    const struct api_context *api = context;
    (void)is_last_call;
    return check_id(request, err) &&
           migration_store_steady_ms(request->db, request->parameters[0],
                                     api->config->host_lost_after_s, &answer->keep_ms, err) &&
           migration_store_show(request->db, request->parameters[0], api->config->host_lost_after_s,
                                &answer->body, err);
}

bool api_migrations_current(void *context, struct http_request *request, bool is_last_call,
                            struct http_answer *answer, struct error *err)
{
    const char *id = request->parameters[0];
    auto_migration_row struct migration_row row = {0};
    return check_id(request, err) && migration_store_lock(request->db, id, &row, err) &&
           api_migrations_show(context, request, is_last_call, answer, err);
}

bool api_migrations_cancel(void *context, struct http_request *request, bool is_last_call,
                           struct http_answer *answer, struct error *err)
{
    const struct api_context *api = context;
    (void)is_last_call;
    const char *id = request->parameters[0];
    int host_lost_after_s = api->config->host_lost_after_s;
    auto_free char *before = NULL;
    if (!check_id(request, err) ||
        !migration_store_show(request->db, id, host_lost_after_s, &before, err))
        return false;
    if (!migration_apply_event(request->db, id, EVENT_CANCEL, NULL, err)) {
        if (err->code != ERROR_CONFLICT)
            return false;
        return error_set(err, ERROR_CONFLICT,
                         "migration %s cannot be cancelled any more: it has ended, or its VM runs "
                         "at the destination already",
                         id);
    }
    log_info("migration %s: cancelled by %s", id, request->token.name);
    api_migration_accepted(id, answer);
    if (!migration_store_show(request->db, id, host_lost_after_s, &answer->body, err))
        return false;
    http_audit(request, "migration", id, before, answer->body);
    return true;
}
