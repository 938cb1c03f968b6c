/* Events: as a stream of server-sent events, or by pages for those who poll. */
#include "coordinator/api/api.h"
#include "coordinator/api/handlers.h"

#include "base/buffer.h"
#include "base/cleanup.h"
#include "coordinator/db/db.h"
#include "coordinator/event/event_feed.h"
#include "coordinator/store/event_store.h"
#include "coordinator/store/listing.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define AFTER_EXPECTED "the id of an event, 0 or higher"
#define RESOURCE_EXPECTED                                                                          \
    "migrations, evacuations, vms, hosts, pools, mapping-sets, networks or srs"
enum {
    PAGE_BYTES = 16 << 20,
    SCAN = 20000, /* sequences that one query looks through */
    SCANS = 10,   /* queries of one page */
};

struct event_request {
    struct event_filter filter;
    int64_t after; /* -1: not said */
    int limit;
    bool is_page;
};

/* The header comes from a client that goes on with the URL it began with, so it wins. */
static bool read_after(struct http_request *request, int64_t *after, struct error *err)
{
    const char *header = http_request_header(request, "Last-Event-ID");
    const char *text = header && header[0] ? header : http_query(request, "after");
    *after = -1;
    if (!text)
        return true;
    char *end = NULL;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (errno || end == text || *end || value < 0 || text[0] == '+' || text[0] == ' ')
        return text == header ? http_wrong_header(request, "Last-Event-ID", AFTER_EXPECTED, err)
                              : http_wrong_parameter(request, "after", AFTER_EXPECTED, err);
    *after = value;
    return true;
}

static bool read_filter(struct http_request *request, struct event_filter *filter,
                        struct error *err)
{
    const char *resource = http_query(request, "resource");
    const char *id = http_query(request, "id");
    const char *pool = http_query(request, "pool");
    if (resource && !event_resource_check(resource, err))
        return http_wrong_parameter(request, "resource", RESOURCE_EXPECTED, err);
    if (id && !uuid_is_valid(id))
        return http_wrong_parameter(request, "id", "a UUID in lower case", err);
    if (pool && !listing_find_pool(request->db, request->token.scope, pool, filter->pool, err))
        return false;
    filter->scope = request->token.scope;
    snprintf(filter->resource, sizeof filter->resource, "%s", resource ? resource : "");
    snprintf(filter->id, sizeof filter->id, "%s", id ? id : "");
    return true;
}

/* A stream unless JSON is asked for by name. */
static bool wants_page(const struct http_request *request)
{
    const char *accept = http_request_header(request, "Accept");
    return accept && strstr(accept, "application/json") && !strstr(accept, "text/event-stream");
}

static bool read_request(struct http_request *request, struct event_request *wanted,
                         struct error *err)
{
    static const char *const of_page[] = {"after", "resource", "id", "pool", "limit", NULL};
    static const char *const of_stream[] = {"after", "resource", "id", "pool", NULL};
    wanted->is_page = wants_page(request);
    return http_query_only(request, wanted->is_page ? of_page : of_stream, err) &&
           read_after(request, &wanted->after, err) && read_filter(request, &wanted->filter, err) &&
           api_limit(request, &wanted->limit, err);
}

static void answer_gone(const struct http_request *request, const struct event_bounds *bounds,
                        int64_t after, struct http_answer *answer)
{
    char detail[160];
    snprintf(detail, sizeof detail,
             "What followed event %" PRId64 " is not retained any more: the oldest one is %" PRId64
             ", so go on after %" PRId64,
             after, bounds->oldest, bounds->oldest - 1);
    http_answer_json(answer, 410,
                     json_pack("{s:s, s:s, s:i, s:s, s:s, s:I}", "type",
                               "urn:crosspool:problem:gone", "title", "Gone", "status", 410,
                               "detail", detail, "request", request->id, "oldest",
                               (json_int_t)bounds->oldest));
    answer->content_type = "application/problem+json";
}

static bool refuse_future(struct http_request *request, int64_t after, int64_t newest,
                          struct error *err)
{
    const char *header = http_request_header(request, "Last-Event-ID");
    bool is_header = header && header[0];
    char expected[48];
    snprintf(expected, sizeof expected, "at most %" PRId64, newest);
    field_errors_add(&request->errors, is_header ? FIELD_HEADER : FIELD_QUERY,
                     is_header ? "Last-Event-ID" : "after", "is in the future", expected);
    return error_set(err, ERROR_INVALID,
                     "there is no event %" PRId64 " yet: the newest one is %" PRId64, after,
                     newest);
}

/* *is_gone: the answer says that it is. */
static bool check_position(struct http_request *request, int64_t after, struct http_answer *answer,
                           bool *is_gone, struct error *err)
{
    struct event_bounds bounds;
    if (!event_store_bounds(request->db, &bounds, err))
        return false;
    if (after > bounds.newest)
        return refuse_future(request, after, bounds.newest, err);
    *is_gone = after + 1 < bounds.oldest;
    if (*is_gone)
        answer_gone(request, &bounds, after, answer);
    return true;
}

static bool append_rows(struct buffer *out, const struct db_rows *rows, int *count,
                        struct error *err)
{
    for (int i = 0; i < db_count(rows); i++) {
        if (!buffer_printf(out, err, "%s%s", *count ? "," : "", db_value(rows, i, "data")))
            return false;
        ++*count;
    }
    return true;
}

/* Looks through at most SCANS * SCAN events; *position is how far it came. */
static bool append_page(struct db *db, const struct event_request *wanted, int64_t newest,
                        struct buffer *out, int64_t *position, struct error *err)
{
    int count = 0;
    for (int i = 0; i < SCANS && count < wanted->limit && *position < newest; i++) {
        auto_db_rows struct db_rows *rows = NULL;
        int64_t upto = newest - *position < SCAN ? newest : *position + SCAN;
        if (!event_store_read(db, &wanted->filter, *position, upto, wanted->limit - count, &rows,
                              err) ||
            !append_rows(out, rows, &count, err))
            return false;
        bool is_full = count == wanted->limit && db_count(rows) > 0;
        *position = is_full ? db_value_int(rows, db_count(rows) - 1, "sequence") : upto;
    }
    return true;
}

static bool answer_page(struct http_request *request, const struct event_request *wanted,
                        struct http_answer *answer, struct error *err)
{
    struct event_bounds bounds;
    struct buffer out;
    if (!event_store_bounds(request->db, &bounds, err))
        return false;
    int64_t after = wanted->after < 0 ? bounds.oldest - 1 : wanted->after;
    int64_t position = after;
    bool is_gone = false;
    buffer_init(&out, PAGE_BYTES);
    /* the position is checked after the reading, so that nothing that was removed meanwhile goes
     * unseen */
    if (!buffer_printf(&out, err, "{\"items\":[") ||
        !append_page(request->db, wanted, bounds.newest, &out, &position, err) ||
        !buffer_printf(&out, err, "],\"next\":%" PRId64 "}", position) ||
        !check_position(request, after, answer, &is_gone, err)) {
        buffer_done(&out);
        return false;
    }
    if (is_gone)
        buffer_done(&out);
    else
        answer->body = buffer_take(&out);
    return true;
}

static bool answer_stream(const struct api_context *api, struct http_request *request,
                          const struct event_request *wanted, struct http_answer *answer,
                          struct error *err)
{
    struct event_bounds bounds;
    bool is_gone = false;
    if (!event_store_bounds(request->db, &bounds, err))
        return false;
    int64_t after = wanted->after < 0 ? bounds.newest : wanted->after;
    if (!check_position(request, after, answer, &is_gone, err))
        return false;
    answer->content_type = is_gone ? answer->content_type : "text/event-stream";
    return is_gone || event_feed_open(api->feed, request, &wanted->filter, after, err);
}

bool api_events(void *context, struct http_request *request, bool is_last_call,
                struct http_answer *answer, struct error *err)
{
    const struct api_context *api = context;
    (void)is_last_call;
    struct event_request wanted = {0};
    if (!read_request(request, &wanted, err))
        return false;
    return wanted.is_page ? answer_page(request, &wanted, answer, err)
                          : answer_stream(api, request, &wanted, answer, err);
}
