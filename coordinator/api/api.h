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
    struct db_pool *pool;                   /* for open routes, which get no connection */
    _Atomic(struct db_listener *) listener; /* NULL until it listens */
    int schema_version;                     /* of the database when this program migrated it */
    int64_t started_at_s;                   /* Unix time */
};

/* A connection for an open route. ERROR_UNREACHABLE says no more than that the database is not
 * available: whoever calls did not say who he is. */
bool api_take(const struct api_context *context, struct db **db, struct error *err) must_check;

/* Is it a time of RFC 3339, as answers hold them: "2026-01-31T12:00:00Z"? */
#define API_TIME_EXPECTED "a time such as 2026-01-31T12:00:00Z"
bool api_is_time(const char *text);
/* The member /name: a name as coordinator/security/name.h wants it. */
bool api_check_name(struct http_request *request, const char *what, const char *name,
                    struct error *err) must_check;
struct mapping;
struct switchover;
/* A map and a switch-over within the body, at this pointer, as JSON text. */
bool api_mapping(struct http_request *request, const char *pointer, const char *text,
                 struct mapping *out, struct error *err) must_check;
bool api_switchover(struct http_request *request, const char *pointer, const char *text,
                    struct switchover *out, struct error *err) must_check;

/* What was asked of a migration goes on: Location says where, Retry-After when to look again. */
void api_migration_accepted(const char *id, struct http_answer *answer);

/* Answers a page of the list, by the query parameters that its table knows, `limit`, `cursor`,
 * `sort` and `fields`; `own`: the list's own parameters. */
struct page_list;
bool api_list(struct http_request *request, const struct page_list *list, const char *const own[],
              struct http_answer *answer, struct error *err) must_check;
/* The same of an evacuation. */
void api_evacuation_accepted(const char *id, struct http_answer *answer);
/* Nothing of a plan can be done: a problem with every reason of each VM in `refused`. */
struct evacuation_planning;
void api_evacuation_blocked(const struct http_request *request,
                            const struct evacuation_planning *planning, struct http_answer *answer);
/* evacuation_request.c: the body of a request with ids alone; a deadline that is past is taken by a
 * dry run. Release with json_release. */
struct evacuation_request;
bool api_evacuation_read(struct http_request *request, bool is_dry_run,
                         struct evacuation_request *out, struct error *err) must_check;
/* The evacuation of the path, when the caller may see all of its pools. */
bool api_evacuation_look(struct http_request *request, char **body, struct error *err) must_check;

/* The answer is a delivery of this webhook, which goes on: 202, and where to look. */
void api_answer_delivery(const char *webhook, struct http_answer *answer);
/* `limit` alone; PAGE_DEFAULT when it is absent. */
bool api_limit(struct http_request *request, int *limit, struct error *err) must_check;
