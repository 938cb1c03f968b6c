/* The HTTP server (libmicrohttpd, TLS by GnuTLS): routes, requests, answers, parked polls. Two
 * listeners with the same routes table: the API port (bearer tokens) and the agent port (client
 * certificates). libmicrohttpd and GnuTLS are included in this folder only. */
#pragma once

#include "base/error.h"
#include "base/json.h"
#include "base/uuid.h"
#include "coordinator/security/audit.h"
#include "coordinator/security/limits.h"
#include "coordinator/security/token.h"

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

/* What a token that is limited to pools may do with a route. Any other token is not limited. */
enum http_scope {
    SCOPE_NONE,      /* no token is asked for */
    SCOPE_WHOLE,     /* nothing: the route concerns all pools */
    SCOPE_SHARED,    /* all of it: what it shows belongs to no pool */
    SCOPE_OBJECTS,   /* the handler gives token.scope to the statements that find objects */
    SCOPE_MIGRATION, /* {id} is a migration: GET when one of its pools is in scope, else both */
};

struct http_request {
    const char *id;          /* request id, also in the answer's header and the log */
    const char *traceparent; /* as it is passed on: the caller's trace, or a new one */
    const char *method, *path;
    const char *body; /* NUL-terminated */
    size_t body_size;
    int64_t started_us;      /* monotonic, when its headers came */
    bool is_first;           /* of its connection: it may have waited for that since it was made */
    char parameters[4][129]; /* the {...} parts of the route's path, in order */
    char host[UUID_SIZE];    /* ACCESS_AGENT: who calls */
    struct token token;      /* others: whose token it is, an empty name when open */
    struct db *db;    /* a connection for this call of the handler; NULL when plain or open. With a
                         token and no GET it is inside a transaction, which is committed together
                         with the audit row of what http_audit was told, or rolled back */
    void *connection; /* for http_query */
    struct audit_change change;
    struct field_errors errors; /* what is wrong with it, field by field: `errors` of a 400 */
};
/* Gives request->db back before the handler ends: a handler that waits for other threads must not
 * keep it from them. Only of agents, who have no transaction. */
void http_give_db(struct http_request *request);
/* Decodes the body; all that is wrong with it goes to the answer. */
bool http_body(struct http_request *request, const struct json_field *fields, void *out,
               struct error *err) must_check;
/* ERROR_INVALID of one member: `err` says what is wrong and gets the pointer in front. */
bool http_wrong_member(struct http_request *request, const char *pointer, const char *expected,
                       struct error *err);
/* The same for a query parameter or header that is not what it should be. */
bool http_wrong_parameter(struct http_request *request, const char *name, const char *expected,
                          struct error *err);
bool http_wrong_header(struct http_request *request, const char *name, const char *expected,
                       struct error *err);
/* Tells what this request changed, once, with JSON of the object before and after without any
 * secret (NULL = not there). A handler that changed something and did not tell fails. */
void http_audit(struct http_request *request, const char *kind, const char *id, const char *before,
                const char *after);
/* Query parameter by name, NULL when absent. Borrowed. */
const char *http_query(const struct http_request *request, const char *name);
/* Request header by name, NULL when absent. Borrowed. */
const char *http_request_header(const struct http_request *request, const char *name);
/* ERROR_INVALID naming each parameter of the query that is not in `allowed` (NULL-terminated), is
 * there twice, has no value, or one that is not UTF-8. */
bool http_query_only(struct http_request *request, const char *const allowed[],
                     struct error *err) must_check;

struct http_answer {
    int status;               /* 200 unless set */
    char *body;               /* owned; NULL = none */
    const char *content_type; /* "application/json" unless set */
    const char *policy;       /* Content-Security-Policy when not NULL */
    char location[256];       /* Location header when not empty */
    int retry_after_s;        /* Retry-After header when > 0 */
    int park_ms;              /* > 0: answer later. When http_wake(key) is called, the handler is
                                 called again. When nothing was woken until the time is over, `body`
                                 is the answer; without one the handler is called a last time */
    char park_key[UUID_SIZE];
    int64_t keep_ms; /* of a route with topics: > 0 when time alone makes the answer wrong after
                        that; 0: only a change does; < 0: it is not kept */
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
    enum http_scope scope;
    /* What an If-Match is compared with: answers as GET of the object would, and locks the object
     * until the transaction ends. NULL: the operation takes no If-Match. */
    http_handler *current;
    /* What the answer of a GET is made of, so that it can be kept in memory (NULL-terminated, at
     * most FRESHNESS_TOPICS): topics that the schema's triggers tell, "{}" is the first parameter.
     * NULL: it is asked for each time. */
    const char *const *topics;
};

/* A body that goes on until one side ends it, such as text/event-stream. A handler opens it and
 * answers with a content type and without a body; from then on any thread sends into it. It holds
 * no thread, no database connection, and memory only for what its client has not taken yet. */
struct http_stream;
/* Called from any thread, must not block: the stream was closed, or has room after a send failed.
 */
typedef void http_stream_ready(void *context);
/* ERROR_UNREACHABLE: there are too many, or the server stops. */
bool http_stream_open(struct http_request *request, http_stream_ready *ready, void *context,
                      struct http_stream **out, struct error *err) must_check;
/* All of it or nothing: false when it has no room now, or is closed. */
bool http_stream_send(struct http_stream *stream, const char *data, size_t size);
/* Half of its memory is free. */
bool http_stream_has_room(struct http_stream *stream);
/* False: its client went away, or the server stops. */
bool http_stream_is_open(struct http_stream *stream);
/* What was sent still goes out, then the body ends. The stream is not the caller's any more; call
 * it for a closed one too. */
void http_stream_end(struct http_stream *stream);

/* RFC 9457. Status by code: INVALID 400, REFUSED 403, NOT_FOUND 404, CONFLICT 409, NO_SPACE 507,
 * UNREACHABLE 503, TIMEOUT 504, UNSUPPORTED 422, INTERNAL 500.
 * type = "urn:crosspool:problem:<error code name>". */
int http_status_of(enum error_code code);
/* errors: what is wrong field by field, for INVALID; NULL: nothing. */
char *http_problem(const struct error *err, const struct field_errors *errors,
                   const char *request_id);

struct http_config {
    const char *api_address; /* loopback by default */
    int api_port;
    const char *agent_address;
    int agent_port;
    const char *server_certificate, *server_key, *ca; /* PEM texts */
    const char *api_certificate, *api_key;            /* of the API port; NULL = the same */
    size_t api_body_limit, agent_body_limit;          /* bytes */
    struct limits limits;
    int streams;             /* open at once; their connections count under this alone */
    size_t poll_cache_bytes; /* for answers kept in memory */
    int threads;             /* that run handlers of the API; plain routes have one of their own */
    int agent_threads;       /* the same of the agent port: most wait for others to do their work */
    int agent_connections;   /* to the database, which these hold at once at most */
};
/* Database connections that handlers can hold at once. */
#define HTTP_CONNECTIONS(threads, agent_connections) ((threads) + (agent_connections))
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

/* Something of this topic changed in the database ("" = all): what is kept of it is forgotten. */
void http_changed(struct http_server *server, const char *topic);
/* All changes that were committed before that moment of the monotonic clock were given to
 * http_changed; 0: they are not told any more. Nothing is answered from memory otherwise. */
void http_heard(struct http_server *server, int64_t until_ms);

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
int http_streams(struct http_server *server);

/* What was refused before it reached a handler. */
enum http_refusal {
    REFUSAL_CONNECTIONS, /* there are too many */
    REFUSAL_ADDRESS,     /* too many of them from one address */
    REFUSAL_SLOW,        /* handshake, headers or body took too long */
    REFUSAL_HEADER,      /* headers too large */
    REFUSAL_RATE,        /* a token or host asks too often */
    REFUSAL_FAILURES,    /* an address fails too often */
    REFUSALS
};
extern const char *const http_refusal_names[];
uint64_t http_refused(struct http_server *server, enum http_refusal why);
/* Answers from memory, and SQL statements of requests, since the start; bytes kept now. */
uint64_t http_from_memory(struct http_server *server);
uint64_t http_statements(struct http_server *server);
size_t http_kept_bytes(struct http_server *server);
