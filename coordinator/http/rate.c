/* Who asks too often: tokens and hosts by their own rate, addresses by the requests from there that
 * nobody known made. An address that used its failures up is heard only when it shows an identity
 * that was good a moment ago, so that its other callers are not shut out with it. */
#include "coordinator/http/server.h"

#include "base/clock.h"

static const char *caller_of(const struct http_exchange *exchange)
{
    return exchange->route->access == ACCESS_AGENT ? exchange->request.host : exchange->bearer;
}

static bool refuse(struct http_exchange *exchange, enum http_refusal why, const char *text,
                   int wait_s)
{
    http_refuse(exchange, 429, "too-many-requests", text);
    exchange->answer.retry_after_s = wait_s;
    http_count_refusal(exchange->server, why);
    return false;
}

bool http_rate_check_failures(struct http_exchange *exchange)
{
    int wait_s = 0;
    if (!limit_is_over(&exchange->server->failures, limit_key(exchange->address),
                       exchange->started_us, &wait_s))
        return true;
    return refuse(exchange, REFUSAL_FAILURES,
                  "Too many requests from this address without a good identity", wait_s);
}

bool http_rate_check(struct http_exchange *exchange)
{
    struct http_server *server = exchange->server;
    const struct http_route *route = exchange->route;
    if (http_is_open(route))
        return strcmp(route->method, "GET") == 0 || http_rate_check_failures(exchange);
    uint64_t key = limit_key(caller_of(exchange));
    int wait_s = 0;
    if (!limit_is_known(&server->callers, key) && !http_rate_check_failures(exchange))
        return false;
    if (limit_take(&server->callers, key, exchange->started_us, &wait_s))
        return true;
    return refuse(exchange, REFUSAL_RATE,
                  route->access == ACCESS_AGENT ? "Too many requests of this host"
                                                : "Too many requests with this token",
                  wait_s);
}

void http_rate_known(struct http_exchange *exchange)
{
    limit_know(&exchange->server->callers, limit_key(caller_of(exchange)));
}

/* A refused enrolment counts as well: its token is in the body. */
void http_rate_answered(struct http_exchange *exchange)
{
    const struct http_route *route = exchange->route;
    int wait_s = 0;
    if (exchange->is_stranger || (route && http_is_open(route) && exchange->answer.status == 403))
        (void)limit_take(&exchange->server->failures, limit_key(exchange->address),
                         clock_monotonic_us(), &wait_s);
}
