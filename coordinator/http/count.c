/* Counts answers and how long they took, by route and status; all closed lists, so the metrics stay
 * bounded. */
#include "coordinator/http/server.h"

#include "base/clock.h"
#include "base/memory.h"

/* What we answer; anything else counts under the last, 0. */
static const int counted[] = {200, 201, 202, 204, 304, 400, 401, 403, 404, 405,
                              409, 412, 413, 422, 429, 500, 503, 504, 507, 0};
enum { HTTP_STATUSES = sizeof counted / sizeof *counted, CLASSES = 5 };

const int64_t http_duration_us[HTTP_DURATIONS] = {
    1000, 5000, 10000, 25000, 50000, 100000, 250000, 1000000, 2500000, 10000000, 30000000};

struct http_counts {
    uint64_t answers[HTTP_STATUSES];
    struct {
        uint64_t count, sum_us;
        uint64_t buckets[HTTP_DURATIONS];
    } classes[CLASSES]; /* of 1xx, 2xx ... */
};

void http_count_start(struct http_server *server)
{
    server->counts = memory_array(server->route_count + 1, sizeof *server->counts);
}

static void count_duration(struct http_counts *counts, int status, int64_t us)
{
    int class = status / 100 - 1;
    if (class < 0 || class >= CLASSES)
        return;
    int bucket = 0;
    while (bucket < HTTP_DURATIONS && us > http_duration_us[bucket])
        bucket++;
    counts->classes[class].count++;
    counts->classes[class].sum_us += (uint64_t)us;
    if (bucket < HTTP_DURATIONS)
        counts->classes[class].buckets[bucket]++;
}

void http_count_answer(struct http_exchange *exchange)
{
    struct http_server *server = exchange->server;
    size_t route =
        exchange->route ? (size_t)(exchange->route - server->routes) : server->route_count;
    size_t status = 0;
    while (counted[status] && counted[status] != exchange->answer.status)
        status++;
    int64_t us = clock_monotonic_us() - exchange->started_us;
    pthread_mutex_lock(&server->lock);
    server->counts[route].answers[status]++;
    count_duration(&server->counts[route], exchange->answer.status, us);
    pthread_mutex_unlock(&server->lock);
}

static const char *method_of(const struct http_server *server, size_t route)
{
    return route < server->route_count ? server->routes[route].method : "";
}

static const char *path_of(const struct http_server *server, size_t route)
{
    return route < server->route_count ? server->routes[route].path : "";
}

static struct http_counts copy_counts(struct http_server *server, size_t route)
{
    pthread_mutex_lock(&server->lock);
    struct http_counts copy = server->counts[route];
    pthread_mutex_unlock(&server->lock);
    return copy;
}

void http_each_count(struct http_server *server, http_count_visit *visit, void *context)
{
    for (size_t route = 0; route <= server->route_count; route++) {
        struct http_counts counts = copy_counts(server, route);
        for (size_t i = 0; i < HTTP_STATUSES; i++) {
            const struct http_count count = {.method = method_of(server, route),
                                             .path = path_of(server, route),
                                             .status = counted[i],
                                             .answers = counts.answers[i]};
            if (count.answers)
                visit(context, &count);
        }
    }
}

void http_each_duration(struct http_server *server, http_duration_visit *visit, void *context)
{
    for (size_t route = 0; route <= server->route_count; route++) {
        struct http_counts counts = copy_counts(server, route);
        for (int i = 0; i < CLASSES; i++) {
            const struct http_duration duration = {.method = method_of(server, route),
                                                   .path = path_of(server, route),
                                                   .status_class = i + 1,
                                                   .answers = counts.classes[i].count,
                                                   .sum_us = counts.classes[i].sum_us,
                                                   .buckets = counts.classes[i].buckets};
            if (duration.answers)
                visit(context, &duration);
        }
    }
}
