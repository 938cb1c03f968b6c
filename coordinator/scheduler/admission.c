/* Preflight, create and start; see admission.h. */
#include "coordinator/scheduler/admission.h"

#include "base/cleanup.h"
#include "base/utf8.h"
#include "coordinator/scheduler/transition.h"
#include "coordinator/store/ledger.h"
#include "coordinator/store/preflight_facts.h"

#include <stdio.h>
#include <string.h>

void admission_done(struct admission *admission)
{
    preflight_result_done(&admission->result);
    preflight_input_done(&admission->input);
}

static const struct mapping empty_map;

static bool look(struct db *db, const struct admission_request *request, struct admission *out,
                 struct error *err)
{
    struct preflight_request facts = {.vm = request->vm,
                                      .pool = request->pool,
                                      .host = request->host,
                                      .network = request->policy.network,
                                      .host_lost_after_s = request->host_lost_after_s};
    struct admission found = {0};
    if (!preflight_facts_load(db, &facts, &found.input, err))
        return false;
    found.input.mode = request->mode;
    found.input.bandwidth_bytes_per_s = request->policy.bandwidth_bytes_per_s;
    snprintf(found.input.network, sizeof found.input.network, "%s", request->policy.network);
    mapping_overlay(&request->set, &request->inline_map, &found.input.mapping);
    mapping_overlay(&empty_map, &request->inline_map, &found.input.request);
    preflight_check(&found.input, &found.result);
    *out = found;
    return true;
}

bool admission_check(struct db *db, const struct admission_request *request,
                     struct admission *admission, struct error *err)
{
    return look(db, request, admission, err);
}

static void fill_host(struct spec_host *out, const struct preflight_host *host)
{
    memcpy(out->id, host->id, sizeof out->id);
    snprintf(out->address, sizeof out->address, "%s", host->link_address);
    out->port = host->link_port;
}

/* The spec of a preflight without blockers. Its lists are the result's own: not to be released. */
static void fill_spec(struct migration_spec *spec, const char *id,
                      const struct admission *admission)
{
    const struct preflight_input *in = &admission->input;
    memcpy(spec->migration, id, UUID_SIZE);
    memcpy(spec->domain, in->domain, UUID_SIZE);
    memcpy(spec->name, in->vm_name, sizeof spec->name);
    spec->memory_bytes = in->memory_bytes;
    fill_host(&spec->source, &in->source);
    fill_host(&spec->destination, admission->result.host);
    spec->disks = (struct json_array){admission->result.disks, in->disk_count};
    spec->vifs = (struct json_array){admission->result.vifs, in->vif_count};
    for (size_t i = 0; i < in->disk_count; i++)
        uuid_make(admission->result.disks[i].destination.vdi);
}

struct create_work {
    const struct admission_request *request;
    struct admission *admission;
    char *id;
};

static bool insert(struct db *db, struct create_work *work, struct error *err)
{
    const struct admission_request *request = work->request;
    struct migration_spec spec = {.mode = request->mode,
                                  .bandwidth_bytes_per_s = request->policy.bandwidth_bytes_per_s,
                                  .stall_limit_ms = request->stall_limit_ms,
                                  .parallel_disks = request->parallel_disks,
                                  .has_traceparent = request->traceparent != NULL};
    snprintf(spec.traceparent, sizeof spec.traceparent, "%s",
             request->traceparent ? request->traceparent : "");
    uuid_make(work->id);
    fill_spec(&spec, work->id, work->admission);
    char fresh[UUID_SIZE];
    uuid_make(fresh);
    auto_free char *mapping = mapping_encode(&work->admission->input.mapping);
    struct migration_new made = {.spec = &spec,
                                 .vm = request->vm,
                                 .destination_vm = fresh,
                                 .destination_pool = request->pool,
                                 .requested_host = request->host,
                                 .mapping = mapping,
                                 .created_by = request->created_by,
                                 .policy = &request->policy};
    return migration_store_insert(db, &made, err);
}

static bool create(struct db *db, void *context, struct error *err)
{
    struct create_work *work = context;
    admission_done(work->admission); /* of an attempt that was rolled back */
    if (!migration_store_admission_lock(db, err) || !look(db, work->request, work->admission, err))
        return false;
    return work->admission->result.count > 0 || insert(db, work, err);
}

bool admission_create(struct db *db, const struct admission_request *request,
                      struct admission *admission, char id[UUID_SIZE], struct error *err)
{
    struct admission found = {0};
    struct create_work work = {.request = request, .admission = &found, .id = id};
    if (!transaction_run(db, create, &work, err)) {
        admission_done(&found);
        return false;
    }
    *admission = found;
    return true;
}

/* ---- start ---- */

/* Of the stored spec only what the request set; everything else is decided anew. The bandwidth may
 * have been changed since. */
static bool read_settings(const struct migration_row *row, struct migration_spec *settings,
                          struct error *err)
{
    struct migration_spec old = {0};
    if (!json_decode_text(row->spec, strlen(row->spec), migration_spec_fields, &old, err))
        return error_prefix(err, "stored spec of migration %s", row->id);
    *settings = (struct migration_spec){.mode = old.mode,
                                        .bandwidth_bytes_per_s = row->bandwidth_bytes_per_s,
                                        .stall_limit_ms = old.stall_limit_ms,
                                        .parallel_disks = old.parallel_disks,
                                        .has_traceparent = old.has_traceparent};
    memcpy(settings->traceparent, old.traceparent, sizeof settings->traceparent);
    json_release(migration_spec_fields, &old);
    return true;
}

/* Preflight for a queued migration with the settings and the mapping it was created with. */
static bool look_again(struct db *db, const struct migration_row *row, enum migration_mode mode,
                       int host_lost_after_s, struct admission *out, struct error *err)
{
    struct preflight_request facts = {.vm = row->vm,
                                      .pool = row->destination_pool,
                                      .host = row->requested_host[0] ? row->requested_host : NULL,
                                      .migration = row->id,
                                      .network = row->network,
                                      .host_lost_after_s = host_lost_after_s};
    struct admission found = {0};
    if (!preflight_facts_load(db, &facts, &found.input, err))
        return false;
    if (!mapping_decode(row->mapping, &found.input.mapping, NULL, err)) {
        admission_done(&found);
        return error_prefix(err, "stored mapping of migration %s", row->id);
    }
    found.input.mode = mode;
    memcpy(found.input.network, row->network, sizeof found.input.network);
    preflight_check(&found.input, &found.result);
    *out = found;
    return true;
}

static bool is_full(struct db *db, const struct preflight_host *host, const char *role,
                    char waits_for[160], bool *is_busy, struct error *err)
{
    int load = 0;
    if (!migration_store_load_of(db, host->id, &load, err))
        return false;
    *is_busy = load >= ADMISSION_MOST_PER_HOST;
    if (*is_busy)
        snprintf(waits_for, 160, "its turn: %s host %.80s takes part in %d migrations already",
                 role, host->name, load);
    return true;
}

/* Sets *waits_for to "" when nothing keeps it from starting. */
static bool check_turn(struct db *db, const struct admission *admission, char waits_for[160],
                       struct error *err)
{
    waits_for[0] = '\0';
    if (admission->result.count > 0) {
        snprintf(waits_for, 160, "%.150s", admission->result.blockers[0].message);
        return true;
    }
    bool is_busy = false;
    if (!is_full(db, &admission->input.source, "source", waits_for, &is_busy, err))
        return false;
    return is_busy || is_full(db, admission->result.host, "destination", waits_for, &is_busy, err);
}

static void describe(const struct preflight_result *result, struct error *why)
{
    error_set(why, ERROR_CONFLICT, "%s", result->blockers[0].message);
    for (size_t i = 1; i < result->count; i++) {
        struct error before = *why;
        error_set(why, ERROR_CONFLICT, "%s; %s", before.text, result->blockers[i].message);
    }
    error_prefix(why, "preflight before the start");
}

static bool go(struct db *db, struct migration_row *row, const struct migration_spec *settings,
               const struct admission *admission, struct error *err)
{
    struct migration_spec spec = *settings;
    fill_spec(&spec, row->id, admission);
    if (!migration_store_set_spec(db, &spec, err) || !ledger_plan(db, &spec, err))
        return false;
    memcpy(row->source_host, admission->input.source.id, UUID_SIZE);
    memcpy(row->destination_host, admission->result.host->id, UUID_SIZE);
    return transition_apply(db, row, EVENT_START, NULL, err);
}

static bool decide(struct db *db, struct migration_row *row, const struct migration_spec *settings,
                   const struct admission *admission, struct error *err)
{
    const struct preflight_result *result = &admission->result;
    if (!preflight_may_wait(result)) {
        struct error why;
        describe(result, &why);
        return transition_apply(db, row, EVENT_REFUSE, &why, err);
    }
    char waits_for[160];
    if (!check_turn(db, admission, waits_for, err))
        return false;
    utf8_repair(waits_for);
    if (waits_for[0])
        return migration_store_set_waits_for(db, row->id, waits_for, err);
    return go(db, row, settings, admission, err);
}

struct start_work {
    const char *id;
    int host_lost_after_s;
};

static bool start(struct db *db, void *context, struct error *err)
{
    struct start_work *work = context;
    auto_migration_row struct migration_row row = {0};
    if (!migration_store_admission_lock(db, err) || !migration_store_lock(db, work->id, &row, err))
        return false;
    if (row.state != MIGRATION_QUEUED)
        return true;
    struct migration_spec settings;
    if (!read_settings(&row, &settings, err))
        return false;
    struct admission admission = {0};
    bool is_done = look_again(db, &row, settings.mode, work->host_lost_after_s, &admission, err) &&
                   decide(db, &row, &settings, &admission, err);
    admission_done(&admission);
    return is_done;
}

bool admission_start(struct db *db, const char *id, int host_lost_after_s, struct error *err)
{
    struct start_work work = {.id = id, .host_lost_after_s = host_lost_after_s};
    return transaction_run(db, start, &work, err);
}
