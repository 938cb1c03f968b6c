/* ETags, and the conditions a request can set with them (RFC 9110, 8.8.3 and 13.1). */
#include "coordinator/http/server.h"

#include "base/x509.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void http_etag(const char *body, char out[HTTP_ETAG_SIZE])
{
    char hash[65];
    x509_sha256_hex(body, strlen(body), hash);
    snprintf(out, HTTP_ETAG_SIZE, "\"%.32s\"", hash); /* 128 bits tell all apart */
}

bool http_etag_is_in(const char *list, const char *etag, bool is_weak_good)
{
    for (const char *p = list; *p;) {
        p += strspn(p, " \t,");
        if (*p == '*')
            return true;
        bool is_weak = strncmp(p, "W/", 2) == 0;
        p += is_weak ? 2 : 0;
        if (*p != '"')
            return false; /* not a list of tags */
        const char *end = strchr(p + 1, '"');
        if (!end)
            return false;
        size_t length = (size_t)(end + 1 - p);
        if ((is_weak_good || !is_weak) && length == strlen(etag) && memcmp(p, etag, length) == 0)
            return true;
        p = end + 1;
    }
    return false;
}

bool http_is_read(const struct http_exchange *exchange)
{
    return strcmp(exchange->method, "GET") == 0 || strcmp(exchange->method, "HEAD") == 0;
}

/* What a PUT answers is what a GET would answer now. */
void http_tag_answer(struct http_exchange *exchange)
{
    struct http_answer *answer = &exchange->answer;
    bool shows = http_is_read(exchange) || strcmp(exchange->method, "PUT") == 0;
    if (shows && answer->status == 200 && answer->body && !answer->content_type &&
        !http_is_open(exchange->route))
        http_etag(answer->body, exchange->etag);
}

void http_check_not_modified(struct http_exchange *exchange)
{
    const char *known = http_header(exchange, MHD_HTTP_HEADER_IF_NONE_MATCH);
    if (known && exchange->etag[0] && exchange->answer.status == 200 && http_is_read(exchange) &&
        http_etag_is_in(known, exchange->etag, true))
        exchange->answer.status = 304;
}

/* The object as it is now, locked until the transaction ends. */
static bool read_current(struct http_exchange *exchange, char etag[HTTP_ETAG_SIZE],
                         struct error *err)
{
    struct http_answer now = {0};
    bool is_read =
        exchange->route->current(exchange->server->context, &exchange->request, true, &now, err);
    if (is_read)
        http_etag(now.body ? now.body : "", etag);
    free(now.body);
    return is_read;
}

bool http_check_match(struct http_exchange *exchange)
{
    const char *wanted = http_header(exchange, MHD_HTTP_HEADER_IF_MATCH);
    if (!wanted)
        return true;
    struct error err;
    char etag[HTTP_ETAG_SIZE];
    if (!exchange->route->current) {
        error_set(&err, ERROR_INVALID, "If-Match: %s %s takes no condition", exchange->method,
                  exchange->route->path);
        field_errors_add(&exchange->request.errors, FIELD_HEADER, "If-Match", "is there",
                         "no condition");
        http_refuse_error(exchange, &err);
        return false;
    }
    if (!read_current(exchange, etag, &err)) {
        http_refuse_error(exchange, &err);
        return false;
    }
    if (http_etag_is_in(wanted, etag, false))
        return true;
    http_refuse(exchange, 412, "precondition-failed",
                "If-Match: the object has changed; read it again");
    return false;
}
