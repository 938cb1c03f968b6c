/* /metrics: Prometheus text. Labels come from closed lists only: routes, statuses, states. */
#include "coordinator/api/api.h"
#include "coordinator/api/handlers.h"

#include "base/buffer.h"
#include "base/x509.h"
#include "coordinator/db/db.h"
#include "coordinator/security/ca.h"
#include "coordinator/security/config.h"
#include "coordinator/security/tls_pair.h"
#include "coordinator/store/census_store.h"

#include <inttypes.h>

enum { METRICS_SIZE = 1 << 20 };

struct page_text {
    struct buffer text;
    struct error *err;
    bool is_good;
};

#define add(out, ...)                                                                              \
    ((out)->is_good = (out)->is_good && buffer_printf(&(out)->text, (out)->err, __VA_ARGS__))

static void add_head(struct page_text *out, const char *name, const char *type, const char *help)
{
    add(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void add_request(void *context, const struct http_count *count)
{
    struct page_text *out = context;
    add(out,
        "crosspool_http_requests_total{method=\"%s\",route=\"%s\",status=\"%d\"} %" PRIu64 "\n",
        count->method, count->path, count->status, count->answers);
}

static void add_refusals(struct page_text *out, const struct api_context *api)
{
    add_head(out, "crosspool_http_refused_total", "counter",
             "Connections and requests refused by a limit.");
    for (int i = 0; i < REFUSALS; i++)
        add(out, "crosspool_http_refused_total{limit=\"%s\"} %" PRIu64 "\n", http_refusal_names[i],
            http_refused(api->http, (enum http_refusal)i));
}

static void add_requests(struct page_text *out, const struct api_context *api)
{
    add_head(out, "crosspool_http_requests_total", "counter",
             "Answers by route and status; status 0 is any other, an empty route is none of ours.");
    http_each_count(api->http, add_request, out);
    add_head(out, "crosspool_http_parked", "gauge", "Requests parked until something happens.");
    add(out, "crosspool_http_parked %d\n", http_parked(api->http));
    add_head(out, "crosspool_http_from_memory_total", "counter",
             "Answers to polls of what had not changed, given from memory.");
    add(out, "crosspool_http_from_memory_total %" PRIu64 "\n", http_from_memory(api->http));
    add_head(out, "crosspool_http_kept_bytes", "gauge", "Memory used by answers kept for polls.");
    add(out, "crosspool_http_kept_bytes %zu\n", http_kept_bytes(api->http));
    add_head(out, "crosspool_http_sql_statements_total", "counter",
             "SQL statements of requests that have ended.");
    add(out, "crosspool_http_sql_statements_total %" PRIu64 "\n", http_statements(api->http));
    add_head(out, "crosspool_sql_statements_total", "counter",
             "SQL statements of the whole process.");
    add(out, "crosspool_sql_statements_total %" PRIu64 "\n", db_statements_total());
    add_head(out, "crosspool_event_streams", "gauge", "Open streams of events.");
    add(out, "crosspool_event_streams %d\n", http_streams(api->http));
}

static void add_census(void *context, const char *kind, const char *state, int64_t count)
{
    struct page_text *out = context;
    add(out, "crosspool_%s{state=\"%s\"} %" PRId64 "\n", kind, state, count);
}

static bool add_certificates(struct page_text *out, const struct api_context *api)
{
    long long ca = 0, server = 0;
    if (!ca_seconds_left(api->ca, &ca, &server, out->err))
        return false;
    add_head(out, "crosspool_certificate_seconds_left", "gauge",
             "Until the coordinator's own certificates expire.");
    add(out, "crosspool_certificate_seconds_left{certificate=\"ca\"} %lld\n", ca);
    add(out, "crosspool_certificate_seconds_left{certificate=\"server\"} %lld\n", server);
    if (!api->tls->certificate)
        return true;
    long long own = 0;
    if (!x509_seconds_left(api->tls->certificate, &own, out->err))
        return false;
    add(out, "crosspool_certificate_seconds_left{certificate=\"api\"} %lld\n", own);
    return true;
}

static bool add_all(struct page_text *out, const struct api_context *api, struct db *db)
{
    add_requests(out, api);
    add_refusals(out, api);
    add_head(out, "crosspool_migrations", "gauge", "Migrations by state.");
    if (!census_store_migrations(db, add_census, out, out->err))
        return false;
    add_head(out, "crosspool_hosts", "gauge", "Hosts by state.");
    return census_store_hosts(db, api->config->host_lost_after_s, add_census, out, out->err) &&
           add_certificates(out, api) && out->is_good;
}

bool api_metrics(void *context, struct http_request *request, bool is_last_call,
                 struct http_answer *answer, struct error *err)
{
    static const char *const allowed[] = {NULL};
    (void)is_last_call;
    if (!http_query_only(request, allowed, err))
        return false;
    struct page_text out = {.err = err, .is_good = true};
    buffer_init(&out.text, METRICS_SIZE);
    if (!add_all(&out, context, request->db)) {
        buffer_done(&out.text);
        return false;
    }
    answer->body = buffer_take(&out.text);
    answer->content_type = "text/plain; version=0.0.4; charset=utf-8";
    return true;
}
