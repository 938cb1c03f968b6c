/* Lanes and their workers: who calls, a database connection, the handler, the answer. */
#include "coordinator/http/server.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "coordinator/db/db.h"
#include "coordinator/security/certificate.h"
#include "coordinator/security/token.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    PLAIN_THREADS = 1,
    TAKE_TIMEOUT_MS = 2000,   /* for a free database connection */
    QUEUE_TIMEOUT_MS = 10000, /* who waited longer for a worker gets a 503 */
};

static struct http_lane *lane_of(const struct http_exchange *exchange)
{
    enum http_lane_kind kind = exchange->listener->port == HTTP_AGENT_PORT ? LANE_AGENT : LANE_API;
    if (exchange->route->access == ACCESS_PLAIN)
        kind = LANE_PLAIN;
    return &exchange->server->lanes[kind];
}

void http_enqueue(struct http_exchange *exchange)
{
    struct http_lane *lane = lane_of(exchange);
    exchange->queued_ms = clock_monotonic_ms();
    http_list_append(&lane->waiting, exchange);
    pthread_cond_signal(&lane->has_work);
}

static bool check_token(struct http_exchange *exchange, struct db *db)
{
    struct token token;
    struct error err;
    if (!token_find(db, exchange->bearer, &token, &err)) {
        exchange->is_unauthenticated = err.code == ERROR_REFUSED;
        if (exchange->is_unauthenticated)
            http_refuse(exchange, 401, "unauthenticated", err.text);
        else
            http_refuse_error(exchange, &err);
        return false;
    }
    snprintf(exchange->request.token_name, sizeof exchange->request.token_name, "%s", token.name);
    enum token_role needed = exchange->route->access == ACCESS_VIEWER     ? TOKEN_VIEWER
                             : exchange->route->access == ACCESS_OPERATOR ? TOKEN_OPERATOR
                                                                          : TOKEN_ADMIN;
    if (token.role >= needed)
        return true;
    error_set(&err, ERROR_REFUSED, "this needs the role %s, the token has %s",
              token_role_names[needed], token_role_names[token.role]);
    http_refuse_error(exchange, &err);
    return false;
}

static bool check_caller(struct http_exchange *exchange, struct db *db)
{
    struct error err;
    if (exchange->route->access != ACCESS_AGENT)
        return check_token(exchange, db);
    if (certificate_check(db, exchange->request.host, exchange->serial, &err))
        return true;
    http_refuse_error(exchange, &err);
    return false;
}

/* Calls the handler; a failure is in the answer. The connection is given back before parking. */
static void call_handler(struct http_exchange *exchange)
{
    auto_db struct db *db = NULL;
    struct error err = {0};
    if (!http_is_open(exchange->route)) {
        if (!db_take(exchange->server->pool, TAKE_TIMEOUT_MS, &db, &err)) {
            log_warning("%s", err.text);
            http_refuse(exchange, 503, "unreachable", "The database is not available now");
            return;
        }
        if (!check_caller(exchange, db))
            return;
    }
    exchange->request.db = db;
    bool is_answered = exchange->route->handler(exchange->server->context, &exchange->request,
                                                exchange->is_last_call, &exchange->answer, &err);
    exchange->request.db = NULL;
    if (!is_answered)
        http_refuse_error(exchange, &err);
    else if (exchange->answer.park_ms > 0 && exchange->is_last_call)
        http_refuse(exchange, 500, "internal", "The handler did not answer its last call");
}

/* After the resume the exchange belongs to libmicrohttpd's thread, which may free it at once. */
static void finish(struct http_exchange *exchange)
{
    struct http_server *server = exchange->server;
    MHD_resume_connection(exchange->connection);
    pthread_mutex_lock(&server->lock);
    if (--server->running == 0)
        pthread_cond_broadcast(&server->became_idle);
    pthread_mutex_unlock(&server->lock);
}

static void run(struct http_exchange *exchange)
{
    log_context_request(exchange->id);
    log_context_host(exchange->request.host[0] ? exchange->request.host : NULL);
    log_context_trace(exchange->traceparent);
    exchange->answer.park_ms = 0;
    if (clock_monotonic_ms() - exchange->queued_ms > QUEUE_TIMEOUT_MS)
        http_refuse(exchange, 503, "unreachable", "The coordinator is overloaded");
    else
        call_handler(exchange);
    log_context_request(NULL);
    log_context_host(NULL);
    log_context_trace(NULL);
    if (exchange->answer.park_ms > 0)
        http_park(exchange);
    else
        finish(exchange);
}

static void *work(void *context)
{
    struct http_lane *lane = context;
    struct http_server *server = lane->server;
    pthread_mutex_lock(&server->lock);
    for (;;) {
        while (!lane->waiting.head && !server->is_ended)
            pthread_cond_wait(&lane->has_work, &server->lock);
        struct http_exchange *exchange = lane->waiting.head;
        if (!exchange)
            break;
        http_list_remove(&lane->waiting, exchange);
        exchange->generation = http_wake_generation(server);
        exchange->is_last_call = exchange->is_last_call || server->is_stopping;
        pthread_mutex_unlock(&server->lock);
        run(exchange);
        pthread_mutex_lock(&server->lock);
    }
    pthread_mutex_unlock(&server->lock);
    return NULL;
}

static bool start_lane(struct http_lane *lane, int threads, struct error *err)
{
    lane->threads = memory_array((size_t)threads, sizeof *lane->threads);
    for (int i = 0; i < threads; i++) {
        int failed = pthread_create(&lane->threads[i], NULL, work, lane);
        if (failed)
            return error_set_errno(err, ERROR_INTERNAL, failed, "starting a worker");
        lane->thread_count++;
    }
    return true;
}

bool http_workers_start(struct http_server *server, int threads, struct error *err)
{
    for (int i = 0; i < LANES; i++) {
        if (!start_lane(&server->lanes[i], i == LANE_PLAIN ? PLAIN_THREADS : threads, err))
            return false;
    }
    return true;
}

void http_workers_stop(struct http_server *server)
{
    pthread_mutex_lock(&server->lock);
    server->is_ended = true;
    for (int i = 0; i < LANES; i++)
        pthread_cond_broadcast(&server->lanes[i].has_work);
    pthread_mutex_unlock(&server->lock);
    for (int i = 0; i < LANES; i++) {
        struct http_lane *lane = &server->lanes[i];
        for (int k = 0; k < lane->thread_count; k++)
            pthread_join(lane->threads[k], NULL);
        free(lane->threads);
    }
}
