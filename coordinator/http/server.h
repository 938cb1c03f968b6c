/* The parts of the HTTP server, inside coordinator/http only.
 *
 * libmicrohttpd's threads read and write and never run a handler: a whole request is suspended and
 * put into a lane, a worker of the lane runs its handler and resumes it. A parked request is in no
 * lane and holds no thread and no database connection. There are three lanes, so that neither
 * port can starve the other, and health is answered while all others wait for the database. */
#pragma once

#include "base/buffer.h"
#include "base/traceparent.h"
#include "coordinator/http/answer_cache.h"
#include "coordinator/http/http.h"
#include "coordinator/http/limit.h"
#include "coordinator/http/token_cache.h"

#include <gnutls/gnutls.h>
#include <microhttpd.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

enum { HTTP_ETAG_SIZE = 36 };
enum http_port { HTTP_API_PORT, HTTP_AGENT_PORT, HTTP_PORTS };
enum http_lane_kind { LANE_API, LANE_AGENT, LANE_PLAIN, LANES };
enum http_state {
    HTTP_RECEIVING, /* owned by libmicrohttpd's thread */
    HTTP_WAITING,   /* suspended: in a lane, with a worker, or parked */
    HTTP_READY,     /* resumed with an answer */
};

/* One request from its first byte to the end of its answer. */
struct http_exchange {
    struct http_server *server;
    const struct http_listener *listener;
    struct MHD_Connection *connection;
    const struct http_route *route; /* NULL: none fits */
    struct http_request request;
    char id[65];
    char traceparent[TRACEPARENT_SIZE];
    char *method, *path;
    char bearer[129];
    char serial[65];     /* of the client certificate */
    const char *address; /* of the peer; lives as long as the connection */
    struct buffer body;
    size_t received;
    struct http_answer answer;
    struct kept_answer *kept; /* holds the body instead of `answer` */
    bool is_kept_sent;        /* its use is the response's now */
    char etag[HTTP_ETAG_SIZE];
    char content_type[64];     /* of a repeated answer */
    bool is_replayed;          /* the answer of an earlier request with the same key */
    bool is_from_memory;       /* no handler was called */
    uint64_t fresh_generation; /* before the database was asked */
    int64_t read_ms;           /* when that was */
    char allow[64];            /* Allow header of a 405 */
    bool is_unauthenticated;   /* adds WWW-Authenticate */
    bool is_stranger;          /* showed no identity that is known here */
    enum http_state state;
    int64_t started_us;
    int64_t queued_ms;
    int64_t park_until_ms; /* 0: not parked yet */
    bool is_last_call;
    bool is_inside;      /* of the agents' gate */
    bool was_parked_out; /* it stands in its lane as its time is over, nothing had been woken */
    struct http_stream *stream; /* the answer's body when it has no text */
    uint64_t generation;        /* of wakes, before the handler looked */
    size_t heap_index;          /* while it is parked */
    struct http_exchange *next, *previous;
};

struct http_list {
    struct http_exchange *head, *tail;
    int length;
};

struct http_lane {
    struct http_server *server;
    struct http_list waiting;
    pthread_cond_t has_work;
    pthread_t *threads;
    int thread_count;
};

enum { HTTP_ADDRESS_SIZE = 46 };

/* Whose certificate a peer has shown; no host: nobody has looked yet. Verifying it costs more than
 * a poll's whole answer, and the connection's keys stay those of the handshake, so once is enough
 * until the certificate expires. What the database says of it is asked for each request. */
struct http_peer {
    char host[UUID_SIZE];
    char serial[65];
    time_t good_until;
};

/* One connection, as libmicrohttpd's socket context. */
struct http_connection {
    struct http_listener *listener;
    int fd;
    char address[HTTP_ADDRESS_SIZE];
    int64_t deadline_ms; /* when what the peer has to send must be here; 0 = nothing is awaited */
    bool is_stream;      /* of those, and counted with them */
    bool is_used;        /* it had a request */
    struct http_peer peer;
    struct http_connection *next, *previous;
};

struct http_listener {
    struct http_server *server;
    enum http_port port;
    size_t body_limit;
    int most_connections, most_per_address; /* 0 = no limit */
    struct MHD_Daemon *daemon;
    struct http_connection *connections; /* all of it, guarded by the server's connection_lock */
    int counted;                         /* of those, without streams */
};

struct http_counts;
struct http_wakes; /* what is parked, and when which key was woken last */

struct http_server {
    const struct http_route *routes;
    size_t route_count;
    void *context;
    struct db_pool *pool;
    struct http_listener listeners[HTTP_PORTS];
    gnutls_typed_vdata_st client_purpose; /* what a client certificate must be good for */
    struct freshness *freshness;
    struct token_cache *tokens;
    struct answer_cache *answers;
    struct http_counts *counts; /* [route_count + 1] */
    _Atomic uint64_t from_memory, statements;
    sem_t agent_gate; /* database connections that calls from the agent port may still take */

    struct limit callers, failures; /* by token or host; by address */
    struct limit refusal_log;
    _Atomic uint64_t unlogged; /* refusals since the last one that was logged */
    _Atomic uint64_t refusals[REFUSALS];
    int header_ms, body_ms;

    pthread_mutex_t connection_lock; /* guards the listeners' connections and the next four */
    pthread_cond_t watch_changed;
    bool is_watch_over;
    bool has_watcher;
    pthread_t watcher;

    pthread_mutex_t lock; /* guards everything below */
    struct http_lane lanes[LANES];
    struct http_stream *streams; /* all that are open */
    int stream_count, stream_limit;
    struct http_wakes *wakes;
    pthread_t timer;
    bool has_timer;
    pthread_cond_t timer_changed;
    pthread_cond_t became_idle;
    int running; /* suspended exchanges */
    int open;    /* exchanges that libmicrohttpd still knows */
    bool is_stopping, is_ended;
};

/* Nobody has to say who he is. */
static inline bool http_is_open(const struct http_route *route)
{
    return route->access == ACCESS_PLAIN || route->access == ACCESS_OPEN;
}

/* Only tokens change: agents report what is, each report in transactions of its own. */
static inline bool http_is_change(const struct http_route *route)
{
    return !http_is_open(route) && route->access != ACCESS_AGENT &&
           strcmp(route->method, "GET") != 0;
}

/* Of a route that needs a token. */
static inline enum token_role http_role_of(const struct http_route *route)
{
    return route->access == ACCESS_VIEWER     ? TOKEN_VIEWER
           : route->access == ACCESS_OPERATOR ? TOKEN_OPERATOR
                                              : TOKEN_ADMIN;
}

/* list.c */
void http_list_append(struct http_list *list, struct http_exchange *exchange);
void http_list_remove(struct http_list *list, struct http_exchange *exchange);

/* listen.c: one TLS listener */
bool http_listen(struct http_listener *listener, const struct http_config *config,
                 struct error *err) must_check;
void http_listen_no_more(struct http_listener *listener); /* requests go on */
void http_listen_stop(struct http_listener *listener);

/* exchange.c: what libmicrohttpd calls */
enum MHD_Result http_on_request(void *listener, struct MHD_Connection *connection, const char *url,
                                const char *method, const char *version, const char *data,
                                size_t *size, void **state);
const char *http_header(const struct http_exchange *exchange, const char *name); /* NULL: none */
void http_on_completed(void *listener, struct MHD_Connection *connection, void **state,
                       enum MHD_RequestTerminationCode why);

/* connection.c */
enum MHD_Result http_may_connect(void *listener, const struct sockaddr *address, socklen_t size);
void http_on_connection(void *listener, struct MHD_Connection *connection, void **state,
                        enum MHD_ConnectionNotificationCode what);
const char *http_connection_address(struct MHD_Connection *connection);
/* NULL outside of a listener's life; the thread of its connection alone may use it. */
struct http_peer *http_connection_peer(struct MHD_Connection *connection);
/* Called once for each request; true: it is the connection's first. */
bool http_connection_use(struct MHD_Connection *connection);
/* The peer has so long for what it has to send now; 0 = it has to send nothing. */
void http_connection_expect(struct MHD_Connection *connection, int within_ms);
/* It holds a stream now, or not any more. */
void http_connection_streams(struct MHD_Connection *connection, bool is_stream);
bool http_watch_start(struct http_server *server, struct error *err) must_check;
void http_watch_stop(struct http_server *server);

/* rate.c */
/* False with a 429 in the answer; the first one looks at the address alone. */
bool http_rate_check_failures(struct http_exchange *exchange) must_check;
bool http_rate_check(struct http_exchange *exchange);
/* The identity that it shows is good. */
void http_rate_known(struct http_exchange *exchange);
void http_rate_answered(struct http_exchange *exchange);

/* tls.c */
void http_demand_certificate(struct http_server *server, struct MHD_Connection *connection);
/* Host and serial of the client certificate that the handshake verified. */
bool http_peer_host(struct MHD_Connection *connection, char host[UUID_SIZE], char serial[65],
                    struct error *err) must_check;

/* route.c */
const struct http_route *http_route_find(const struct http_server *server, enum http_port port,
                                         const char *method, const char *path,
                                         char parameters[4][129], char allow[64]);

/* target.c: appends what is asked for */
bool http_target(const struct http_exchange *exchange, struct buffer *out,
                 struct error *err) must_check;

/* condition.c */
void http_etag(const char *body, char out[HTTP_ETAG_SIZE]);
/* Is the tag in the list of an If-Match or If-None-Match? */
bool http_etag_is_in(const char *list, const char *etag, bool is_weak_good);
bool http_is_read(const struct http_exchange *exchange);
void http_tag_answer(struct http_exchange *exchange);
void http_check_not_modified(struct http_exchange *exchange);
/* False: the answer says why. In the transaction of the change. */
bool http_check_match(struct http_exchange *exchange);

/* idempotency.c */
/* *key is NULL when there is none, or when the request takes none. */
bool http_key_read(struct http_exchange *exchange, const char **key, struct error *err) must_check;
/* *is_new: the request is to be done; else the answer is set. */
bool http_key_take(struct http_exchange *exchange, struct db *db, const char *key, bool *is_new,
                   struct error *err) must_check;
/* Remembers the answer. */
bool http_key_keep(struct http_exchange *exchange, struct db *db, const char *key,
                   struct error *err) must_check;

/* change.c: the handler, under the request's conditions; the answer is set, also on a failure */
void http_call(struct http_exchange *exchange, struct db *db);

/* poll.c */
/* True: the answer is set, from memory. */
bool http_poll_answer(struct http_exchange *exchange);
/* Keeps the answer when its route may be polled. */
void http_poll_keep(struct http_exchange *exchange);

/* problem.c */
void http_refuse(struct http_exchange *exchange, int status, const char *type, const char *detail);
void http_refuse_error(struct http_exchange *exchange, const struct error *err);

/* caller.c: false with the refusal in the answer */
bool http_check_caller(struct http_exchange *exchange, struct db *db) must_check;

/* audited.c: inside the transaction of the handler's change, the row of what it told. A handler
 * that answered without telling has changed nothing. */
bool http_audit_keep(struct http_exchange *exchange, struct error *err) must_check;

/* worker.c */
bool http_workers_start(struct http_server *server, const struct http_config *config,
                        struct error *err) must_check;
void http_workers_stop(struct http_server *server);
/* Gives a suspended exchange to its lane. Called locked. */
void http_enqueue(struct http_exchange *exchange);

/* park.c */
bool http_park_start(struct http_server *server, struct error *err) must_check;
void http_park_stop(struct http_server *server);
uint64_t http_wake_generation(struct http_server *server); /* called locked */
/* Parks it, or gives it back to its lane when it was woken since its handler looked. */
void http_park(struct http_exchange *exchange);
/* Was its key woken since its handler began to look? Called locked. */
bool http_was_woken(const struct http_exchange *exchange);
void http_unpark_all(struct http_server *server);

/* stream.c */
struct MHD_Response *http_stream_response(struct http_stream *stream); /* NULL: no memory */
/* The exchange is over. */
void http_stream_closed(struct http_stream *stream);
/* Ends all; there are no new ones once the server stops. */
void http_streams_end(struct http_server *server);

/* count.c */
void http_count_start(struct http_server *server);
void http_count_answer(struct http_exchange *exchange);
void http_count_refusal(struct http_server *server, enum http_refusal why);
