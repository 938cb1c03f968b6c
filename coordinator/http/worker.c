/* Lanes and their workers: a database connection, who calls, the handler, the answer. */
#include "coordinator/http/server.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/x509.h"
#include "coordinator/db/db.h"

#include <errno.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

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

/* Agents are thousands and come back at the same moment; the API has connections even then. Who may
 * have one for a call from the agent port is inside the gate. */
static bool enter_gate(struct http_exchange *exchange)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += QUEUE_TIMEOUT_MS / 1000;
    exchange->is_inside = lane_of(exchange) == &exchange->server->lanes[LANE_AGENT];
    while (exchange->is_inside &&
           sem_clockwait(&exchange->server->agent_gate, CLOCK_MONOTONIC, &until) != 0) {
        if (errno == EINTR)
            continue;
        exchange->is_inside = false;
        http_refuse(exchange, 503, "unreachable", "The coordinator is overloaded");
        return false;
    }
    return true;
}

static void leave_gate(struct http_exchange *exchange)
{
    if (exchange->is_inside)
        sem_post(&exchange->server->agent_gate);
    exchange->is_inside = false;
}

/* A connection for a caller who may call. False: the answer says why there is none. */
static bool take(struct http_exchange *exchange, struct db **db)
{
    struct error err;
    exchange->fresh_generation = freshness_generation(exchange->server->freshness);
    exchange->read_ms = clock_monotonic_ms();
    if (db_take(exchange->server->pool, TAKE_TIMEOUT_MS, db, &err))
        return http_check_caller(exchange, *db);
    log_warning("%s", err.text);
    http_refuse(exchange, 503, "unreachable", "The database is not available now");
    return false;
}

void http_give_db(struct http_request *request)
{
    struct http_exchange *exchange = request->connection;
    if (request->db)
        atomic_fetch_add_explicit(&exchange->server->statements, db_statements(request->db),
                                  memory_order_relaxed);
    db_give(request->db);
    request->db = NULL;
    leave_gate(exchange);
}

/* Calls the handler; a failure is in the answer. The connection is given back before parking. */
static void call_handler(struct http_exchange *exchange)
{
    struct http_request *request = &exchange->request;
    if (enter_gate(exchange) && (http_is_open(exchange->route) || take(exchange, &request->db)))
        http_call(exchange, request->db);
    http_give_db(request);
}

static void finish_answer(struct http_exchange *exchange)
{
    if (exchange->answer.park_ms > 0 && exchange->is_last_call)
        http_refuse(exchange, 500, "internal", "The handler did not answer its last call");
    if (exchange->answer.park_ms > 0)
        return;
    http_tag_answer(exchange);
    http_poll_keep(exchange);
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

/* Its handler has answered before it was parked, and that is still so: thousands of polls end this
 * way all the time, and none of them asks the database a second time. Called locked. */
static bool is_answered(const struct http_exchange *exchange)
{
    return exchange->was_parked_out && exchange->answer.body && !http_was_woken(exchange);
}

static void answer_parked(struct http_exchange *exchange)
{
    exchange->answer.park_ms = 0;
    finish_answer(exchange);
    finish(exchange);
}

/* What the call before has answered, when it was parked. */
static void forget_answer(struct http_answer *answer)
{
    free(answer->body);
    answer->body = NULL;
    answer->park_ms = 0;
}

static void run(struct http_exchange *exchange)
{
    log_context_request(exchange->id);
    log_context_host(exchange->request.host[0] ? exchange->request.host : NULL);
    log_context_trace(exchange->traceparent);
    forget_answer(&exchange->answer);
    if (clock_monotonic_ms() - exchange->queued_ms > QUEUE_TIMEOUT_MS)
        http_refuse(exchange, 503, "unreachable", "The coordinator is overloaded");
    else
        call_handler(exchange);
    finish_answer(exchange);
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
        bool has_answer = is_answered(exchange);
        exchange->generation = http_wake_generation(server);
        exchange->is_last_call = exchange->is_last_call || server->is_stopping;
        pthread_mutex_unlock(&server->lock);
        if (has_answer)
            answer_parked(exchange);
        else
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

bool http_workers_start(struct http_server *server, const struct http_config *config,
                        struct error *err)
{
    const int threads[LANES] = {[LANE_PLAIN] = PLAIN_THREADS,
                                [LANE_API] = config->threads,
                                [LANE_AGENT] = config->agent_threads};
    for (int i = 0; i < LANES; i++) {
        if (!start_lane(&server->lanes[i], threads[i], err))
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
