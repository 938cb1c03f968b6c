/* The resources of the REST API: one file each, one handler per operation, and the table of all
 * routes. api/openapi.yaml lists the same operations; a test compares them both ways. */
#pragma once

#include "coordinator/http/http.h"

extern const struct http_route api_routes[];
extern const size_t api_route_count;

/* What handlers get as `context`. */
struct api_context {
    struct http_server *http; /* set once the server runs */
    const struct ca *ca;
    const struct coordinator_config *config;
    struct db_pool *pool;                   /* for open routes, which get no connection */
    _Atomic(struct db_listener *) listener; /* NULL until it listens */
    int schema_version;                     /* of the database when this program migrated it */
    int64_t started_at_s;                   /* Unix time */
};

/* A connection for an open route. ERROR_UNREACHABLE says no more than that the database is not
 * available: whoever calls did not say who he is. */
bool api_take(const struct api_context *context, struct db **db, struct error *err) must_check;

/* Query parameters `limit` (1..PAGE_MOST) and `cursor` (the `next` of the page before) of a list,
 * and whatever is named in `more` (NULL-terminated, or NULL); any other is ERROR_INVALID. */
struct page;
bool api_page(const struct http_request *request, const char *const more[], struct page *page,
              struct error *err) must_check;
