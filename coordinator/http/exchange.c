/* What libmicrohttpd calls: takes a request in, hands it to a lane, sends the answer. */
#include "coordinator/http/server.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    OPEN_BODY_LIMIT = 64 << 10, /* of routes that need no identity */
    HEADER_LIMIT = 16 << 10,    /* request line and headers */
    IDLE_MS = 60000,            /* libmicrohttpd's own limit of silence, IDLE_TIMEOUT_S */
    DISCARD_FACTOR = 4,         /* a refused body is read so far, then the connection is closed */
    DISCARD_LEAST = 4 << 20,    /* but so much of one whose limit is low, which costs no memory */
};

const char *http_header(const struct http_exchange *exchange, const char *name)
{
    return MHD_lookup_connection_value(exchange->connection, MHD_HEADER_KIND, name);
}

/* The caller's request id when it is short and plain, else one of ours. */
static void choose_id(struct http_exchange *exchange)
{
    const char *given = http_header(exchange, "X-Request-Id");
    size_t length = given ? strlen(given) : 0;
    size_t plain = length ? strspn(given, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                          "0123456789._-")
                          : 0;
    if (length && length < sizeof exchange->id && plain == length)
        memcpy(exchange->id, given, length + 1);
    else
        uuid_make(exchange->id);
}

static bool read_bearer(struct http_exchange *exchange)
{
    static const char scheme[] = "Bearer ";
    const char *value = http_header(exchange, MHD_HTTP_HEADER_AUTHORIZATION);
    if (!value || strncasecmp(value, scheme, sizeof scheme - 1) != 0)
        return false;
    value += sizeof scheme - 1;
    value += strspn(value, " ");
    if (!*value || strlen(value) >= sizeof exchange->bearer)
        return false;
    snprintf(exchange->bearer, sizeof exchange->bearer, "%s", value);
    return true;
}

static bool identify(struct http_exchange *exchange)
{
    struct error err;
    if (http_is_open(exchange->route))
        return true;
    if (exchange->route->access != ACCESS_AGENT) {
        if (read_bearer(exchange))
            return true;
        if (!http_rate_check_failures(exchange))
            return false;
        exchange->is_stranger = exchange->is_unauthenticated = true;
        http_refuse(exchange, 401, "unauthenticated",
                    "This needs an API token: Authorization: Bearer <token>");
        return false;
    }
    if (http_peer_host(exchange->connection, exchange->request.host, exchange->serial, &err))
        return true;
    exchange->is_stranger = true;
    http_refuse_error(exchange, &err);
    return false;
}

static bool check_header_size(struct http_exchange *exchange)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(exchange->connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    if (!info || info->header_size <= HEADER_LIMIT)
        return true;
    char text[80];
    snprintf(text, sizeof text, "The request line and headers are larger than %d bytes",
             HEADER_LIMIT);
    http_refuse(exchange, 431, "header-too-large", text);
    http_count_refusal(exchange->server, REFUSAL_HEADER);
    return false;
}

static void find_route(struct http_exchange *exchange)
{
    exchange->route =
        http_route_find(exchange->server, exchange->listener->port, exchange->method,
                        exchange->path, exchange->request.parameters, exchange->allow);
    if (exchange->route)
        return;
    if (exchange->allow[0])
        http_refuse(exchange, 405, "method-not-allowed", "This resource has other methods");
    else
        http_refuse(exchange, 404, "not-found", "There is no such resource");
}

static size_t body_limit(const struct http_exchange *exchange)
{
    bool is_open = !exchange->route || http_is_open(exchange->route);
    return is_open ? OPEN_BODY_LIMIT : exchange->listener->body_limit;
}

static size_t discard_limit(const struct http_exchange *exchange)
{
    size_t limit = DISCARD_FACTOR * body_limit(exchange);
    return limit > DISCARD_LEAST ? limit : DISCARD_LEAST;
}

static uint64_t announced_bytes(const struct http_exchange *exchange)
{
    const char *length = http_header(exchange, MHD_HTTP_HEADER_CONTENT_LENGTH);
    return length ? strtoull(length, NULL, 10) : 0;
}

/* A client that sends its body without asking reads the answer only afterwards: an answer before,
 * with what is unread thrown away at the close, would be lost in a reset. */
static bool is_answered_before_body(const struct http_exchange *exchange)
{
    const char *expect = http_header(exchange, MHD_HTTP_HEADER_EXPECT);
    return expect || announced_bytes(exchange) > discard_limit(exchange);
}

static void refuse_size(struct http_exchange *exchange)
{
    char text[64];
    snprintf(text, sizeof text, "The body is larger than %zu bytes", body_limit(exchange));
    http_refuse(exchange, 413, "too-large", text);
}

/* Not of what is answered from memory, which nobody can trace further. */
static void trace(struct http_exchange *exchange)
{
    if (exchange->traceparent[0])
        return;
    traceparent_continue(http_header(exchange, "traceparent"), exchange->traceparent);
    exchange->request.traceparent = exchange->traceparent;
}

/* A body that says that it is something else than JSON is not looked at. */
static bool check_content_type(struct http_exchange *exchange)
{
    static const char json[] = "application/json";
    const char *type = http_header(exchange, MHD_HTTP_HEADER_CONTENT_TYPE);
    bool is_read = strcmp(exchange->route->method, "GET") == 0;
    if (is_read || !type ||
        (strncasecmp(type, json, sizeof json - 1) == 0 && strchr("; ", type[sizeof json - 1])))
        return true;
    http_refuse(exchange, 415, "unsupported-media-type",
                "Content-Type: expected application/json, or none");
    return false;
}

static struct http_exchange *exchange_new(const struct http_listener *listener,
                                          struct MHD_Connection *connection, const char *method,
                                          const char *path)
{
    struct http_exchange *exchange = memory_alloc(sizeof *exchange);
    exchange->server = listener->server;
    exchange->listener = listener;
    exchange->connection = connection;
    exchange->method = memory_copy_text(method);
    exchange->path = memory_copy_text(path);
    exchange->started_us = clock_monotonic_us();
    choose_id(exchange);
    exchange->request.id = exchange->id;
    exchange->request.method = exchange->method;
    exchange->request.path = exchange->path;
    exchange->request.started_us = exchange->started_us;
    exchange->request.is_first = http_connection_use(connection);
    exchange->request.connection = exchange;
    exchange->address = http_connection_address(connection);
    pthread_mutex_lock(&exchange->server->lock);
    exchange->server->open++;
    pthread_mutex_unlock(&exchange->server->lock);
    return exchange;
}

static void add_header(struct MHD_Response *response, const char *name, const char *value)
{
    if (value[0])
        (void)MHD_add_response_header(response, name, value);
}

static bool is_stopping(struct http_server *server)
{
    pthread_mutex_lock(&server->lock);
    bool is_set = server->is_stopping;
    pthread_mutex_unlock(&server->lock);
    return is_set;
}

static void add_headers(const struct http_exchange *exchange, struct MHD_Response *response)
{
    const struct http_answer *answer = &exchange->answer;
    char seconds[12] = "";
    if (answer->retry_after_s > 0)
        snprintf(seconds, sizeof seconds, "%d", answer->retry_after_s);
    add_header(response, "X-Request-Id", exchange->id);
    add_header(response, MHD_HTTP_HEADER_CACHE_CONTROL,
               exchange->etag[0] ? "private, no-cache" : "no-store");
    add_header(response, MHD_HTTP_HEADER_ETAG, exchange->etag);
    add_header(response, "Idempotency-Replayed", exchange->is_replayed ? "true" : "");
    add_header(response, "X-Content-Type-Options", "nosniff");
    add_header(response, "Content-Security-Policy", answer->policy ? answer->policy : "");
    add_header(response, MHD_HTTP_HEADER_LOCATION, answer->location);
    add_header(response, MHD_HTTP_HEADER_RETRY_AFTER, seconds);
    add_header(response, MHD_HTTP_HEADER_ALLOW, exchange->allow);
    if (exchange->is_unauthenticated)
        add_header(response, MHD_HTTP_HEADER_WWW_AUTHENTICATE, "Bearer realm=\"crosspool\"");
    if ((answer->body || exchange->kept || exchange->stream) && answer->status != 304)
        add_header(response, MHD_HTTP_HEADER_CONTENT_TYPE,
                   answer->content_type ? answer->content_type : "application/json");
    if (is_stopping(exchange->server))
        add_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
}

/* Calls that agents and monitors repeat all the time are logged when they fail, or for debugging.
 */
static bool is_routine(const struct http_exchange *exchange)
{
    const struct http_route *route = exchange->route;
    return route && exchange->answer.status < 400 &&
           (route->access == ACCESS_AGENT || strcmp(route->path, "/healthz") == 0 ||
            strcmp(route->path, "/readyz") == 0 || strcmp(route->path, "/metrics") == 0);
}

static void log_access(struct http_exchange *exchange)
{
    trace(exchange);
    const struct http_request *request = &exchange->request;
    log_context_request(exchange->id);
    log_context_host(request->host[0] ? request->host : NULL);
    log_context_trace(exchange->traceparent);
    log_write(is_routine(exchange) ? LOG_DEBUG : LOG_INFO, "%s %.200s %d %lld us%s%s",
              exchange->method, exchange->path, exchange->answer.status,
              (long long)(clock_monotonic_us() - exchange->started_us),
              request->token.name[0] ? " token " : "", request->token.name);
    log_context_request(NULL);
    log_context_host(NULL);
    log_context_trace(NULL);
}

/* Refusals cost their sender nothing, so they must not fill the log. */
static bool is_logged(struct http_exchange *exchange)
{
    struct http_server *server = exchange->server;
    int status = exchange->answer.status, wait_s = 0;
    if (status != 401 && status != 403 && status != 429 && status != 431)
        return true;
    if (!limit_take(&server->refusal_log, 1, clock_monotonic_us(), &wait_s)) {
        server->unlogged++;
        return false;
    }
    uint64_t unlogged = atomic_exchange(&server->unlogged, 0);
    if (unlogged)
        log_warning("%llu refused requests were not logged", (unsigned long long)unlogged);
    return true;
}

/* Of a kept answer the response has a use of its own, so the body is not copied. A handler that
 * failed after it had opened a stream answers with a problem. */
static struct MHD_Response *make_response(struct http_exchange *exchange)
{
    const struct http_answer *answer = &exchange->answer;
    if (answer->status == 304)
        return MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
    if (exchange->stream && !answer->body)
        return http_stream_response(exchange->stream);
    if (!exchange->kept)
        return MHD_create_response_from_buffer(answer->body ? strlen(answer->body) : 0,
                                               answer->body, MHD_RESPMEM_MUST_COPY);
    struct MHD_Response *response = MHD_create_response_from_buffer_with_free_callback_cls(
        exchange->kept->size, exchange->kept->body, kept_answer_free, exchange->kept);
    if (response)
        exchange->is_kept_sent = true;
    return response;
}

static enum MHD_Result send_answer(struct http_exchange *exchange)
{
    struct http_answer *answer = &exchange->answer;
    if (!answer->status)
        answer->status = 200;
    http_check_not_modified(exchange);
    struct MHD_Response *response = make_response(exchange);
    if (!response)
        return MHD_NO;
    add_headers(exchange, response);
    enum MHD_Result result =
        MHD_queue_response(exchange->connection, (unsigned int)answer->status, response);
    MHD_destroy_response(response);
    exchange->state = HTTP_READY;
    http_count_answer(exchange);
    http_rate_answered(exchange);
    if (!exchange->is_from_memory && is_logged(exchange))
        log_access(exchange);
    return result;
}

/* First call: only the headers are there. */
static enum MHD_Result begin(const struct http_listener *listener,
                             struct MHD_Connection *connection, const char *method,
                             const char *path, void **state)
{
    struct http_exchange *exchange = exchange_new(listener, connection, method, path);
    *state = exchange;
    http_connection_expect(connection, exchange->server->body_ms);
    find_route(exchange);
    if (check_header_size(exchange) && exchange->route && identify(exchange) &&
        http_rate_check(exchange))
        (void)check_content_type(exchange); /* each refusal is in the answer */
    buffer_init(&exchange->body, body_limit(exchange));
    if (announced_bytes(exchange) <= body_limit(exchange))
        return MHD_YES;
    refuse_size(exchange);
    return is_answered_before_body(exchange) ? send_answer(exchange) : MHD_YES;
}

static enum MHD_Result receive(struct http_exchange *exchange, const char *data, size_t *size)
{
    exchange->received += *size;
    if (exchange->received > discard_limit(exchange))
        return MHD_NO;
    struct error err;
    if (!exchange->answer.status && !buffer_append(&exchange->body, data, *size, &err))
        refuse_size(exchange);
    *size = 0;
    return MHD_YES;
}

/* The whole request is here. */
static enum MHD_Result hand_over(struct http_exchange *exchange)
{
    struct http_server *server = exchange->server;
    pthread_mutex_lock(&server->lock);
    bool is_taken = !server->is_stopping;
    server->running += is_taken;
    pthread_mutex_unlock(&server->lock);
    if (!is_taken) {
        http_refuse(exchange, 503, "unreachable", "The coordinator is stopping");
        return send_answer(exchange);
    }
    exchange->request.body = exchange->body.data ? exchange->body.data : "";
    exchange->request.body_size = exchange->body.size;
    trace(exchange);
    exchange->state = HTTP_WAITING;
    http_connection_expect(exchange->connection, 0);
    MHD_suspend_connection(exchange->connection);
    pthread_mutex_lock(&server->lock);
    http_enqueue(exchange);
    pthread_mutex_unlock(&server->lock);
    return MHD_YES;
}

enum MHD_Result http_on_request(void *listener, struct MHD_Connection *connection, const char *url,
                                const char *method, const char *version, const char *data,
                                size_t *size, void **state)
{
    (void)version;
    struct http_exchange *exchange = *state;
    if (!exchange)
        return begin(listener, connection, method, url, state);
    if (*size)
        return receive(exchange, data, size);
    if (exchange->state == HTTP_WAITING || exchange->answer.status)
        return send_answer(exchange);
    if (http_poll_answer(exchange))
        return send_answer(exchange);
    return hand_over(exchange);
}

void http_on_completed(void *listener, struct MHD_Connection *connection, void **state,
                       enum MHD_RequestTerminationCode why)
{
    (void)listener;
    (void)why;
    struct http_exchange *exchange = *state;
    if (!exchange)
        return;
    *state = NULL;
    struct http_server *server = exchange->server;
    if (exchange->stream)
        http_stream_closed(exchange->stream);
    http_connection_expect(connection, server->header_ms ? server->header_ms + IDLE_MS : 0);
    token_done(&exchange->request.token);
    audit_change_done(&exchange->request.change);
    field_errors_done(&exchange->request.errors);
    buffer_done(&exchange->body);
    explicit_bzero(exchange->bearer, sizeof exchange->bearer);
    free(exchange->answer.body);
    if (!exchange->is_kept_sent)
        kept_answer_free(exchange->kept);
    free(exchange->method);
    free(exchange->path);
    free(exchange);
    pthread_mutex_lock(&server->lock);
    if (--server->open == 0)
        pthread_cond_broadcast(&server->became_idle);
    pthread_mutex_unlock(&server->lock);
}
