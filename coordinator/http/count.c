/* Counts answers by route and status; both are closed lists, so the metrics stay bounded. */
#include "coordinator/http/server.h"

#include "base/memory.h"

/* What we answer; anything else counts under the last, 0. */
static const int counted[] = {200, 201, 202, 204, 304, 400, 401, 403, 404, 405, 409,
                              410, 412, 413, 422, 429, 431, 500, 503, 504, 507, 0};
enum { HTTP_STATUSES = sizeof counted / sizeof *counted };

void http_count_start(struct http_server *server)
{
    server->counts =
        memory_array((server->route_count + 1) * HTTP_STATUSES, sizeof *server->counts);
}

void http_count_answer(struct http_exchange *exchange)
{
    struct http_server *server = exchange->server;
    size_t route =
        exchange->route ? (size_t)(exchange->route - server->routes) : server->route_count;
    size_t status = 0;
    while (counted[status] && counted[status] != exchange->answer.status)
        status++;
    atomic_fetch_add_explicit(&server->counts[route * HTTP_STATUSES + status], 1,
                              memory_order_relaxed);
    if (exchange->is_from_memory)
        atomic_fetch_add_explicit(&server->from_memory, 1, memory_order_relaxed);
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

void http_each_count(struct http_server *server, http_count_visit *visit, void *context)
{
    for (size_t i = 0; i < (server->route_count + 1) * HTTP_STATUSES; i++) {
        size_t route = i / HTTP_STATUSES;
        uint64_t answers = atomic_load_explicit(&server->counts[i], memory_order_relaxed);
        if (!answers)
            continue;
        bool is_known = route < server->route_count;
        const struct http_count count = {.method = is_known ? server->routes[route].method : "",
                                         .path = is_known ? server->routes[route].path : "",
                                         .status = counted[i % HTTP_STATUSES],
                                         .answers = answers};
        visit(context, &count);
    }
}

uint64_t http_from_memory(struct http_server *server)
{
    return atomic_load_explicit(&server->from_memory, memory_order_relaxed);
}

uint64_t http_statements(struct http_server *server)
{
    return atomic_load_explicit(&server->statements, memory_order_relaxed);
}

size_t http_kept_bytes(struct http_server *server)
{
    return answer_cache_bytes(server->answers);
}
