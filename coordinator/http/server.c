/* Starts and stops the server; see http.h. */
#include "coordinator/http/server.h"

#include "base/clock.h"
#include "base/memory.h"

#include <gnutls/x509.h>
#include <stdlib.h>
#include <time.h>

enum { REFUSALS_LOGGED_PER_S = 10, REFUSALS_LOGGED_BURST = 50 };

static void server_free(struct http_server *server)
{
    for (int i = 0; i < LANES; i++)
        pthread_cond_destroy(&server->lanes[i].has_work);
    pthread_cond_destroy(&server->timer_changed);
    pthread_cond_destroy(&server->became_idle);
    pthread_cond_destroy(&server->watch_changed);
    sem_destroy(&server->agent_gate);
    pthread_mutex_destroy(&server->connection_lock);
    pthread_mutex_destroy(&server->lock);
    limit_done(&server->callers);
    limit_done(&server->failures);
    limit_done(&server->refusal_log);
    free(server->counts);
    answer_cache_free(server->answers);
    token_cache_free(server->tokens);
    freshness_free(server->freshness);
    free(server);
}

static void set_limits(struct http_server *server, const struct limits *limits)
{
    limit_init(&server->callers, limits->requests_per_s, 1, limits->request_burst);
    limit_init(&server->failures, limits->failures_per_minute, 60, limits->failure_burst);
    limit_init(&server->refusal_log, REFUSALS_LOGGED_PER_S, 1, REFUSALS_LOGGED_BURST);
    server->header_ms = limits->header_s * 1000;
    server->body_ms = limits->body_s * 1000;
    server->listeners[HTTP_API_PORT].most_connections = limits->connections;
    server->listeners[HTTP_API_PORT].most_per_address = limits->connections_per_address;
    server->listeners[HTTP_AGENT_PORT].most_connections = limits->agent_connections;
}

static struct http_server *server_new(const struct http_config *config,
                                      const struct http_route *routes, size_t route_count,
                                      void *context, struct db_pool *pool)
{
    struct http_server *server = memory_alloc(sizeof *server);
    server->routes = routes;
    server->route_count = route_count;
    server->context = context;
    server->pool = pool;
    server->client_purpose = (gnutls_typed_vdata_st){
        .type = GNUTLS_DT_KEY_PURPOSE_OID, .data = (unsigned char *)GNUTLS_KP_TLS_WWW_CLIENT};
    for (int i = 0; i < HTTP_PORTS; i++) {
        server->listeners[i].server = server;
        server->listeners[i].port = (enum http_port)i;
    }
    server->stream_limit = config->streams;
    server->listeners[HTTP_API_PORT].body_limit = config->api_body_limit;
    server->listeners[HTTP_AGENT_PORT].body_limit = config->agent_body_limit;
    set_limits(server, &config->limits);
    (void)sem_init(&server->agent_gate, 0, (unsigned)config->agent_connections);
    pthread_mutex_init(&server->lock, NULL);
    pthread_mutex_init(&server->connection_lock, NULL);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&server->became_idle, &attributes);
    pthread_cond_init(&server->timer_changed, &attributes);
    pthread_cond_init(&server->watch_changed, &attributes);
    pthread_condattr_destroy(&attributes);
    for (int i = 0; i < LANES; i++) {
        server->lanes[i].server = server;
        pthread_cond_init(&server->lanes[i].has_work, NULL);
    }
    http_count_start(server);
    server->freshness = freshness_new();
    server->tokens = token_cache_new(server->freshness);
    server->answers = answer_cache_new(server->freshness, config->poll_cache_bytes);
    return server;
}

bool http_start(struct http_server **out, const struct http_config *config,
                const struct http_route *routes, size_t route_count, void *context,
                struct db_pool *pool, struct error *err)
{
    struct http_server *server = server_new(config, routes, route_count, context, pool);
    *out = server;
    if (http_park_start(server, err) && http_watch_start(server, err) &&
        http_workers_start(server, config, err) &&
        http_listen(&server->listeners[HTTP_API_PORT], config, err) &&
        http_listen(&server->listeners[HTTP_AGENT_PORT], config, err))
        return true;
    *out = NULL;
    http_stop(server, 0);
    return false;
}

/* Running handlers end by the deadlines of their database calls, so this wait ends too. */
static void wait_handlers(struct http_server *server)
{
    pthread_mutex_lock(&server->lock);
    while (server->running > 0)
        pthread_cond_wait(&server->became_idle, &server->lock);
    pthread_mutex_unlock(&server->lock);
}

static void wait_sent(struct http_server *server, int grace_ms)
{
    int64_t deadline_ms = clock_monotonic_ms() + grace_ms;
    struct timespec deadline = {.tv_sec = (time_t)(deadline_ms / 1000),
                                .tv_nsec = (long)(deadline_ms % 1000) * 1000000};
    pthread_mutex_lock(&server->lock);
    while (server->open > 0 &&
           pthread_cond_timedwait(&server->became_idle, &server->lock, &deadline) == 0)
        ;
    pthread_mutex_unlock(&server->lock);
}

void http_stop(struct http_server *server, int grace_ms)
{
    if (!server)
        return;
    for (int i = 0; i < HTTP_PORTS; i++)
        http_listen_no_more(&server->listeners[i]);
    pthread_mutex_lock(&server->lock);
    server->is_stopping = true;
    pthread_mutex_unlock(&server->lock);
    http_unpark_all(server);
    http_streams_end(server);
    wait_handlers(server);
    wait_sent(server, grace_ms);
    http_workers_stop(server);
    http_park_stop(server);
    for (int i = 0; i < HTTP_PORTS; i++)
        http_listen_stop(&server->listeners[i]);
    http_watch_stop(server);
    server_free(server);
}
