/* /metrics: Prometheus text. Labels come from closed lists only: routes, statuses, states, kinds of
 * steps. Totals are of this process; what the database holds is the same at each coordinator. */
#include "coordinator/api/api.h"
#include "coordinator/api/handlers.h"

#include "base/x509.h"
#include "coordinator/api/metrics_page.h"
#include "coordinator/db/db.h"
#include "coordinator/scheduler/tally.h"
#include "coordinator/security/ca.h"
#include "coordinator/security/config.h"
#include "coordinator/security/tls_pair.h"
#include "coordinator/store/census_store.h"

#include <stdatomic.h>
#include <stdio.h>

enum { LABELS_SIZE = 256 };

static void add_build(struct metrics_page *page, const struct api_context *api)
{
    char labels[LABELS_SIZE];
    snprintf(labels, sizeof labels, "version=\"%s\",schema=\"%d\"", CROSSPOOL_VERSION,
             api->schema_version);
    metrics_head(page, "crosspool_build_info", "gauge", "Always 1: which program this is.");
    metrics_count(page, "crosspool_build_info", labels, 1);
    metrics_head(page, "crosspool_start_time_seconds", "gauge",
                 "When this process began, Unix time.");
    metrics_value(page, "crosspool_start_time_seconds", "", (double)api->started_at_s);
}

static void add_request(void *context, const struct http_count *count)
{
    char labels[LABELS_SIZE];
    snprintf(labels, sizeof labels, "method=\"%s\",route=\"%s\",status=\"%d\"", count->method,
             count->path, count->status);
    metrics_count(context, "crosspool_http_requests_total", labels, count->answers);
}

static void add_refusals(struct metrics_page *page, const struct api_context *api)
{
    metrics_head(page, "crosspool_http_refused_total", "counter",
                 "Connections and requests refused by a limit.");
    for (int i = 0; i < REFUSALS; i++) {
        char labels[LABELS_SIZE];
        snprintf(labels, sizeof labels, "limit=\"%s\"", http_refusal_names[i]);
        metrics_count(page, "crosspool_http_refused_total", labels,
                      http_refused(api->http, (enum http_refusal)i));
    }
}

static void add_duration(void *context, const struct http_duration *duration)
{
    char labels[LABELS_SIZE];
    snprintf(labels, sizeof labels, "method=\"%s\",route=\"%s\",status=\"%dxx\"", duration->method,
             duration->path, duration->status_class);
    const struct metrics_histogram histogram = {.bounds_us = http_duration_us,
                                                .buckets = duration->buckets,
                                                .bucket_count = HTTP_DURATIONS,
                                                .count = duration->answers,
                                                .sum_us = duration->sum_us};
    metrics_histogram(context, "crosspool_http_request_duration_seconds", labels, &histogram);
}

static void add_http(struct metrics_page *page, const struct api_context *api)
{
    metrics_head(page, "crosspool_http_requests_total", "counter",
                 "Answers by route and status; status 0 is any other, an empty route is none of "
                 "ours.");
    http_each_count(api->http, add_request, page);
    metrics_head(page, "crosspool_http_request_duration_seconds", "histogram",
                 "From the headers to the answer, time that a request was parked included.");
    http_each_duration(api->http, add_duration, page);
    metrics_head(page, "crosspool_http_parked", "gauge",
                 "Requests parked until something happens.");
    metrics_count(page, "crosspool_http_parked", "", (uint64_t)http_parked(api->http));
    metrics_head(page, "crosspool_http_from_memory_total", "counter",
                 "Answers to polls of what had not changed, given from memory.");
    metrics_count(page, "crosspool_http_from_memory_total", "", http_from_memory(api->http));
    metrics_head(page, "crosspool_http_kept_bytes", "gauge",
                 "Memory used by answers kept for polls.");
    metrics_count(page, "crosspool_http_kept_bytes", "", http_kept_bytes(api->http));
    metrics_head(page, "crosspool_event_streams", "gauge", "Open streams of events.");
    metrics_count(page, "crosspool_event_streams", "", (uint64_t)http_streams(api->http));
    add_refusals(page, api);
}

static void add_results(struct metrics_page *page)
{
    static const char *const outcomes[] = {"failed", "done"};
    metrics_head(page, "crosspool_step_results_total", "counter",
                 "Results of steps that this process took, by kind.");
    for (int kind = 0; step_kind_names[kind]; kind++) {
        for (int is_done = 0; is_done < 2; is_done++) {
            char labels[LABELS_SIZE];
            snprintf(labels, sizeof labels, "kind=\"%s\",outcome=\"%s\"", step_kind_names[kind],
                     outcomes[is_done]);
            metrics_count(page, "crosspool_step_results_total", labels,
                          tally_results((enum step_kind)kind, is_done));
        }
    }
}

static void add_work(struct metrics_page *page)
{
    struct tally_pauses pauses;
    tally_pauses(&pauses);
    const struct metrics_histogram histogram = {.bounds_us = tally_pause_us,
                                                .buckets = pauses.buckets,
                                                .bucket_count = TALLY_PAUSES,
                                                .count = pauses.count,
                                                .sum_us = pauses.sum_us};
    metrics_head(page, "crosspool_pause_seconds", "histogram",
                 "Pauses of guests at their handoff, of those that this process was told.");
    metrics_histogram(page, "crosspool_pause_seconds", "", &histogram);
    metrics_head(page, "crosspool_copied_bytes_total", "counter",
                 "Bytes of disks sent by background copies, of those that this process was told.");
    metrics_count(page, "crosspool_copied_bytes_total", "", tally_copied_bytes());
}

static void add_statements(struct metrics_page *page, const struct api_context *api)
{
    metrics_head(page, "crosspool_http_sql_statements_total", "counter",
                 "SQL statements of requests that have ended, but for those that agents share.");
    metrics_count(page, "crosspool_http_sql_statements_total", "", http_statements(api->http));
    metrics_head(page, "crosspool_sql_statements_total", "counter",
                 "SQL statements of the whole process.");
    metrics_count(page, "crosspool_sql_statements_total", "", db_statements_total());
}

static void add_channel(void *context, const char *channel, uint64_t count)
{
    char labels[LABELS_SIZE];
    snprintf(labels, sizeof labels, "channel=\"%s\"", channel);
    metrics_count(context, "crosspool_notifications_total", labels, count);
}

static void add_listener(struct metrics_page *page, const struct api_context *api)
{
    struct db_listener_stats stats = {0};
    struct db_listener *listener = atomic_load(&api->listener);
    if (listener)
        db_listener_stats(listener, &stats);
    metrics_head(page, "crosspool_listener_up", "gauge",
                 "1 while this process hears of other coordinators' wake-ups.");
    metrics_count(page, "crosspool_listener_up", "", stats.is_listening);
    metrics_head(page, "crosspool_listener_losses_total", "counter",
                 "How often the listening connection was lost.");
    metrics_count(page, "crosspool_listener_losses_total", "", stats.losses);
    metrics_head(page, "crosspool_notifications_total", "counter",
                 "Notifications heard, this process' own included, by channel.");
    if (listener)
        db_listener_each_channel(listener, add_channel, page);
}

static void add_database(struct metrics_page *page, const struct api_context *api)
{
    struct db_pool_stats pool;
    db_pool_stats(api->pool, &pool);
    metrics_head(page, "crosspool_database_connections", "gauge",
                 "Connections to the database by use; all of them together are the pool.");
    metrics_count(page, "crosspool_database_connections", "state=\"used\"", (uint64_t)pool.taken);
    metrics_count(page, "crosspool_database_connections", "state=\"free\"",
                  (uint64_t)(pool.places - pool.taken));
    metrics_head(page, "crosspool_notices_total", "counter",
                 "Wake-ups sent to other coordinators.");
    metrics_count(page, "crosspool_notices_total", "", pool.notices);
    metrics_head(page, "crosspool_notify_statements_total", "counter",
                 "NOTIFY statements that carried them.");
    metrics_count(page, "crosspool_notify_statements_total", "", pool.notify_statements);
    add_statements(page, api);
    add_listener(page, api);
}

static void add_census(void *context, const char *kind, const char *state, int64_t count)
{
    char name[64], labels[LABELS_SIZE];
    snprintf(name, sizeof name, "crosspool_%s", kind);
    snprintf(labels, sizeof labels, "state=\"%s\"", state);
    metrics_count(context, name, labels, (uint64_t)count);
}

static void add_steps(void *context, const char *kind, const char *state, int64_t count)
{
    char labels[LABELS_SIZE];
    snprintf(labels, sizeof labels, "kind=\"%s\",state=\"%s\"", kind, state);
    metrics_count(context, "crosspool_steps", labels, (uint64_t)count);
}

static bool add_waiting(struct metrics_page *page, struct db *db)
{
    struct census_waiting waiting;
    if (!census_store_waiting(db, &waiting, page->err))
        return false;
    metrics_head(page, "crosspool_queue_length", "gauge", "Migrations that wait for their start.");
    metrics_count(page, "crosspool_queue_length", "", (uint64_t)waiting.queued);
    metrics_head(page, "crosspool_queue_oldest_seconds", "gauge",
                 "Since when the oldest of them waits; 0 = none.");
    metrics_value(page, "crosspool_queue_oldest_seconds", "", waiting.oldest_queued_s);
    metrics_head(page, "crosspool_step_oldest_undelivered_seconds", "gauge",
                 "Since when the oldest step waits for its agent; 0 = none.");
    metrics_value(page, "crosspool_step_oldest_undelivered_seconds", "", waiting.oldest_step_s);
    return true;
}

static bool add_stored(struct metrics_page *page, const struct api_context *api, struct db *db)
{
    metrics_head(page, "crosspool_migrations", "gauge", "Migrations by state.");
    if (!census_store_migrations(db, add_census, page, page->err))
        return false;
    metrics_head(page, "crosspool_steps", "gauge", "Steps that have not ended, by kind and state.");
    if (!census_store_steps(db, add_steps, page, page->err))
        return false;
    metrics_head(page, "crosspool_hosts", "gauge", "Hosts by state.");
    return census_store_hosts(db, api->config->host_lost_after_s, add_census, page, page->err) &&
           add_waiting(page, db);
}

static bool add_certificates(struct metrics_page *page, const struct api_context *api)
{
    long long ca = 0, server = 0;
    if (!ca_seconds_left(api->ca, &ca, &server, page->err))
        return false;
    metrics_head(page, "crosspool_certificate_seconds_left", "gauge",
                 "Until the coordinator's own certificates expire.");
    metrics_value(page, "crosspool_certificate_seconds_left", "certificate=\"ca\"", (double)ca);
    metrics_value(page, "crosspool_certificate_seconds_left", "certificate=\"server\"",
                  (double)server);
    if (!api->tls->certificate)
        return true;
    long long own = 0;
    if (!x509_seconds_left(api->tls->certificate, &own, page->err))
        return false;
    metrics_value(page, "crosspool_certificate_seconds_left", "certificate=\"api\"", (double)own);
    return true;
}

static bool add_all(struct metrics_page *page, const struct api_context *api, struct db *db)
{
    add_build(page, api);
    add_http(page, api);
    add_database(page, api);
    add_results(page);
    add_work(page);
    return add_stored(page, api, db) && add_certificates(page, api) && page->is_good;
}

bool api_metrics(void *context, struct http_request *request, bool is_last_call,
                 struct http_answer *answer, struct error *err)
{
    static const char *const allowed[] = {NULL};
    (void)is_last_call;
    if (!http_query_only(request, allowed, err))
        return false;
    struct metrics_page page;
    metrics_page_init(&page, err);
    if (!add_all(&page, context, request->db)) {
        buffer_done(&page.text);
        return false;
    }
    answer->body = buffer_take(&page.text);
    answer->content_type = "text/plain; version=0.0.4; charset=utf-8";
    return true;
}
