/* The HTTP server (libmicrohttpd, TLS by GnuTLS): routes, requests, answers, parked polls. Two
 * listeners with the same routes table: the API port (bearer tokens) and the agent port (client
 * certificates). libmicrohttpd and GnuTLS are included in this folder only. */
#pragma once

#include "base/error.h"
#include "base/uuid.h"

#include <jansson.h>
#include <stdint.h>

struct db;
struct db_pool;

enum http_access {
    ACCESS_PLAIN,  /* no identity and no database: answered while everything else waits for one */
    ACCESS_OPEN,   /* no identity: readiness, enrolment (its token is in the body) */
    ACCESS_VIEWER, /* bearer token of this role or a higher one */
    ACCESS_OPERATOR,
    ACCESS_ADMIN,
    ACCESS_AGENT, /* agent port, host certificate that is not revoked */
};

struct http_request {
    const char *id;          /* request id, also in the answer's header and the log */
    const char *traceparent; /* as it is passed on: the caller's trace, or a new one */
    const char *method, *path;
    const char *body; /* NUL-terminated */
    size_t body_size;
    char parameters[4][129]; /* the {...} parts of the route's path, in order */
    char host[UUID_SIZE];    /* ACCESS_AGENT: who calls */
    char token_name[129];    /* others: the token's name, "" when open */
    struct db *db;    /* a connection for this call of the handler; NULL when plain or open */
    void *connection; /* for http_query */
};
/* Query parameter by name, NULL when absent. Borrowed. */
const char *http_query(const struct http_request *request, const char *name);
/* ERROR_INVALID naming the parameter when the query holds one that is not in `allowed`
 * (NULL-terminated). */
bool http_query_only(const struct http_request *request, const char *const allowed[],
                     struct error *err) must_check;

struct http_answer {
    int status;               /* 200 unless set */
    char *body;               /* owned; NULL = none */
    const char *content_type; /* "application/json" unless set */
    char location[256];       /* Location header when not empty */
    int retry_after_s;        /* Retry-After header when > 0 */
    int park_ms;              /* > 0: answer later: when http_wake(key) is called or after park_ms
                                 the handler is called again with is_last_call true at the end */
    char park_key[UUID_SIZE];
};
/* Takes the reference. */
void http_answer_json(struct http_answer *answer, int status, json_t *value);

/* A handler fails with an error (a problem document: status by code, type by `problem_type` when it
 * set one), or fills the answer. `is_last_call`: parking is over, answer now. */
typedef bool http_handler(void *context, struct http_request *request, bool is_last_call,
                          struct http_answer *answer, struct error *err);
struct http_route {
    const char *method;
    const char *path; /* "/v1/migrations/{id}/cancel" */
    enum http_access access;
    http_handler *handler;
};

/* RFC 9457. Status by code: INVALID 400, REFUSED 403, NOT_FOUND 404, CONFLICT 409, NO_SPACE 507,
 * UNREACHABLE 503, TIMEOUT 504, UNSUPPORTED 422, INTERNAL 500.
 * type = "urn:crosspool:problem:<error code name>". */
int http_status_of(enum error_code code);
char *http_problem(const struct error *err, const char *request_id);

struct http_config {
    const char *api_address; /* loopback by default */
    int api_port;
    const char *agent_address;
    int agent_port;
    const char *server_certificate, *server_key, *ca; /* PEM texts */
    size_t api_body_limit, agent_body_limit;          /* bytes */
    int threads; /* that run handlers: so many for each port, and one for plain routes */
};
/* Database connections that handlers can hold at once. */
#define HTTP_CONNECTIONS(threads) (2 * (threads))
struct http_server;
/* *out is set before the first handler runs. */
bool http_start(struct http_server **out, const struct http_config *config,
                const struct http_route *routes, size_t route_count, void *context,
                struct db_pool *pool, struct error *err) must_check;
/* Stops accepting, answers parked requests, waits for running handlers (their database calls have
 * deadlines), then at most grace_ms until the answers are sent. */
void http_stop(struct http_server *server, int grace_ms);
/* Calls the handlers of requests parked under this key again; "" = all. Coalesced, any thread. */
void http_wake(struct http_server *server, const char *key);

/* What was answered since the start, for metrics. `path` is the route's, "" for no route. */
struct http_count {
    const char *method, *path;
    int status;
    uint64_t answers;
};
typedef void http_count_visit(void *context, const struct http_count *count);
void http_each_count(struct http_server *server, http_count_visit *visit, void *context);
/* How long answers took, parking included, by the first digit of their status. */
enum { HTTP_DURATIONS = 11 };
extern const int64_t http_duration_us[HTTP_DURATIONS]; /* upper bounds of the buckets, rising */
struct http_duration {
    const char *method, *path;
    int status_class; /* 2 = 2xx */
    uint64_t answers, sum_us;
    const uint64_t *buckets; /* each counts its own range only */
};
typedef void http_duration_visit(void *context, const struct http_duration *duration);
void http_each_duration(struct http_server *server, http_duration_visit *visit, void *context);
int http_parked(struct http_server *server);
