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
    const struct tls_pair *tls; /* of the API port; empty when it shows the CA's certificate */
    const struct coordinator_config *config;
    struct event_feed *feed;
    struct db_pool *pool; /* for open routes, which get no connection */
    int schema_version;   /* of the database when this program migrated it */
};

/* A connection for an open route. ERROR_UNREACHABLE says no more than that the database is not
 * available: whoever calls did not say who he is. */
bool api_take(const struct api_context *context, struct db **db, struct error *err) must_check;

/* ERROR_INVALID, which begins with `what`, unless the text is a time of RFC 3339, as answers hold
 * them: "2026-01-31T12:00:00Z". */
bool api_check_time(const char *what, const char *text, struct error *err) must_check;

/* What was asked of a migration goes on: Location says where, Retry-After when to look again. */
void api_migration_accepted(const char *id, struct http_answer *answer);

/* The same of an evacuation. */
void api_evacuation_accepted(const char *id, struct http_answer *answer);
/* Nothing of a plan can be done: a problem with every reason of each VM in `refused`. */
struct evacuation_planning;
void api_evacuation_blocked(const struct http_request *request,
                            const struct evacuation_planning *planning, struct http_answer *answer);
/* evacuation_request.c: the body of a request with ids alone; a deadline that is past is taken by a
 * dry run. Release with json_release. */
struct evacuation_request;
bool api_evacuation_read(const struct http_request *request, bool is_dry_run,
                         struct evacuation_request *out, struct error *err) must_check;
/* The evacuation of the path, when the caller may see all of its pools. */
bool api_evacuation_look(const struct http_request *request, char **body,
                         struct error *err) must_check;

/* Query parameters `limit` (1..PAGE_MOST) and `cursor` (the `next` of the page before) of a list,
 * and whatever is named in `more` (NULL-terminated, or NULL); any other is ERROR_INVALID. */
struct page;
bool api_page(const struct http_request *request, const char *const more[], struct page *page,
              struct error *err) must_check;
/* The answer is a delivery of this webhook, which goes on: 202, and where to look. */
void api_answer_delivery(const char *webhook, struct http_answer *answer);
/* `limit` alone; PAGE_DEFAULT when it is absent. */
bool api_limit(const struct http_request *request, int *limit, struct error *err) must_check;
