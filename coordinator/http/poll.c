/* Polls of what has not changed: answered from memory on libmicrohttpd's own thread, without a
 * worker, a database connection or a log line. Only routes that name topics take part. */
#include "coordinator/http/server.h"

#include "base/clock.h"
#include "base/memory.h"
#include "base/x509.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { POLL_KEY_LONGEST = 4096 };

/* What decides the answer besides the target: what its caller may see. A role sees what another of
 * the same access sees; it stands here so that this never depends on it. */
static bool make_key(const struct http_exchange *exchange, struct buffer *out)
{
    struct error err;
    const struct token *token = &exchange->request.token;
    return buffer_printf(out, &err, "%s %s ", token_role_names[token->role],
                         token->scope ? token->scope : "") &&
           http_target(exchange, out, &err);
}

static bool is_polled(const struct http_exchange *exchange)
{
    return exchange->route && exchange->route->topics && http_is_read(exchange) &&
           exchange->bearer[0];
}

static struct kept_answer *find(struct http_exchange *exchange, int64_t now_ms)
{
    struct buffer key;
    buffer_init(&key, POLL_KEY_LONGEST);
    struct kept_answer *found = NULL;
    if (make_key(exchange, &key))
        found = answer_cache_find(exchange->server->answers, key.data, now_ms);
    buffer_done(&key);
    return found;
}

bool http_poll_answer(struct http_exchange *exchange)
{
    int64_t now_ms = clock_monotonic_ms();
    char hash[65];
    if (!is_polled(exchange))
        return false;
    x509_sha256_hex(exchange->bearer, strlen(exchange->bearer), hash);
    if (!token_cache_find(exchange->server->tokens, hash, now_ms, &exchange->request.token) ||
        exchange->request.token.role < http_role_of(exchange->route))
        return false;
    exchange->kept = find(exchange, now_ms);
    if (!exchange->kept)
        return false;
    exchange->answer.status = 200;
    exchange->is_from_memory = true;
    memcpy(exchange->etag, exchange->kept->etag, sizeof exchange->etag);
    return true;
}

/* "migration {}" is of the object that the path names. */
static void mark_topics(const struct http_exchange *exchange, struct freshness_mark *mark)
{
    for (const char *const *topic = exchange->route->topics; *topic; topic++) {
        char text[160];
        const char *hole = strstr(*topic, "{}");
        if (hole)
            snprintf(text, sizeof text, "%.*s%s", (int)(hole - *topic), *topic,
                     exchange->request.parameters[0]);
        freshness_mark_topic(mark, hole ? text : *topic);
    }
}

void http_poll_keep(struct http_exchange *exchange)
{
    struct http_answer *answer = &exchange->answer;
    struct buffer key;
    if (!is_polled(exchange) || !exchange->fresh_generation || answer->status != 200 ||
        answer->keep_ms < 0 || !exchange->etag[0])
        return;
    struct freshness_mark mark;
    freshness_mark(&mark, exchange->fresh_generation);
    mark_topics(exchange, &mark);
    int64_t until_ms = answer->keep_ms ? exchange->read_ms + answer->keep_ms : 0;
    buffer_init(&key, POLL_KEY_LONGEST);
    if (make_key(exchange, &key)) {
        exchange->kept = kept_answer_new(answer->body, exchange->etag, &mark, until_ms);
        answer->body = NULL;
        answer_cache_keep(exchange->server->answers, key.data, exchange->kept);
    }
    buffer_done(&key);
}

void http_changed(struct http_server *server, const char *topic)
{
    freshness_changed(server->freshness, topic);
}

void http_heard(struct http_server *server, int64_t until_ms)
{
    freshness_heard(server->freshness, until_ms);
}
