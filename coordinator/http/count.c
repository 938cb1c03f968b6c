/* Counts answers and how long they took, by route and status; all closed lists, so the metrics stay
 * bounded. */
#include "coordinator/http/server.h"

#include "base/clock.h"
#include "base/memory.h"

/* What we answer; anything else counts under the last, 0. */
static const int counted[] = {200, 201, 202, 204, 304, 400, 401, 403, 404, 405, 409, 410,
                              412, 413, 415, 422, 429, 431, 500, 503, 504, 507, 0};
enum { HTTP_STATUSES = sizeof counted / sizeof *counted, CLASSES = 5 };

const int64_t http_duration_us[HTTP_DURATIONS] = {
    1000, 5000, 10000, 25000, 50000, 100000, 250000, 1000000, 2500000, 10000000, 30000000};

struct http_counts {
    _Atomic uint64_t answers[HTTP_STATUSES];
    struct {
        _Atomic uint64_t sum_us;
        _Atomic uint64_t buckets[HTTP_DURATIONS + 1]; /* the last: longer than all bounds */
    } classes[CLASSES];                               /* of 1xx, 2xx ... */
};

static void add(_Atomic uint64_t *count, uint64_t more)
{
    atomic_fetch_add_explicit(count, more, memory_order_relaxed);
}

static uint64_t get(_Atomic uint64_t *count)
{
    return atomic_load_explicit(count, memory_order_relaxed);
}

void http_count_start(struct http_server *server)
{
    server->counts = memory_array(server->route_count + 1, sizeof *server->counts);
}

static void count_duration(struct http_counts *counts, int status, int64_t us)
{
    int family = status / 100 - 1;
    if (family < 0 || family >= CLASSES)
        return;
    int bucket = 0;
    while (bucket < HTTP_DURATIONS && us > http_duration_us[bucket])
        bucket++;
    add(&counts->classes[family].sum_us, (uint64_t)us);
    add(&counts->classes[family].buckets[bucket], 1);
}

void http_count_answer(struct http_exchange *exchange)
{
    struct http_server *server = exchange->server;
    size_t route =
        exchange->route ? (size_t)(exchange->route - server->routes) : server->route_count;
    size_t status = 0;
    while (counted[status] && counted[status] != exchange->answer.status)
        status++;
    struct http_counts *counts = &server->counts[route];
    add(&counts->answers[status], 1);
    count_duration(counts, exchange->answer.status, clock_monotonic_us() - exchange->started_us);
    if (exchange->is_from_memory)
        add(&server->from_memory, 1);
}

const char *const http_refusal_names[] = {"connections", "address", "slow",
                                          "header",      "rate",    "failures"};

void http_count_refusal(struct http_server *server, enum http_refusal why)
{
    server->refusals[why]++;
}

uint64_t http_refused(struct http_server *server, enum http_refusal why)
{
    return server->refusals[why];
}

static const char *method_of(const struct http_server *server, size_t route)
{
    return route < server->route_count ? server->routes[route].method : "";
}

static const char *path_of(const struct http_server *server, size_t route)
{
    return route < server->route_count ? server->routes[route].path : "";
}

void http_each_count(struct http_server *server, http_count_visit *visit, void *context)
{
    for (size_t route = 0; route <= server->route_count; route++) {
        for (size_t i = 0; i < HTTP_STATUSES; i++) {
            const struct http_count count = {.method = method_of(server, route),
                                             .path = path_of(server, route),
                                             .status = counted[i],
                                             .answers = get(&server->counts[route].answers[i])};
            if (count.answers)
                visit(context, &count);
        }
    }
}

static void visit_duration(struct http_server *server, size_t route, int family,
                           http_duration_visit *visit, void *context)
{
    struct http_counts *counts = &server->counts[route];
    uint64_t buckets[HTTP_DURATIONS + 1], answers = 0;
    for (int i = 0; i <= HTTP_DURATIONS; i++) {
        buckets[i] = get(&counts->classes[family].buckets[i]);
        answers += buckets[i];
    }
    const struct http_duration duration = {.method = method_of(server, route),
                                           .path = path_of(server, route),
                                           .status_class = family + 1,
                                           .answers = answers,
                                           .sum_us = get(&counts->classes[family].sum_us),
                                           .buckets = buckets};
    if (answers)
        visit(context, &duration);
}

void http_each_duration(struct http_server *server, http_duration_visit *visit, void *context)
{
    for (size_t route = 0; route <= server->route_count; route++) {
        for (int family = 0; family < CLASSES; family++)
            visit_duration(server, route, family, visit, context);
    }
}

uint64_t http_from_memory(struct http_server *server)
{
    return get(&server->from_memory);
}

uint64_t http_statements(struct http_server *server)
{
    return get(&server->statements);
}

size_t http_kept_bytes(struct http_server *server)
{
    return answer_cache_bytes(server->answers);
}
