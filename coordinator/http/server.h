/* The parts of the HTTP server, inside coordinator/http only.
 *
 * libmicrohttpd's threads read and write and never run a handler: a whole request is suspended and
 * put into a lane, a worker of the lane runs its handler and resumes it. A parked request is in no
 * lane and holds no thread and no database connection. There are three lanes, so that neither
 * port can starve the other, and health is answered while all others wait for the database. */
#pragma once

#include "base/buffer.h"
#include "base/traceparent.h"
#include "coordinator/http/http.h"

#include <gnutls/gnutls.h>
#include <microhttpd.h>
#include <pthread.h>

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
    char serial[65]; /* of the client certificate */
    struct buffer body;
    size_t received;
    struct http_answer answer;
    char allow[64];          /* Allow header of a 405 */
    bool is_unauthenticated; /* adds WWW-Authenticate */
    enum http_state state;
    int64_t started_us;
    int64_t queued_ms;
    int64_t park_until_ms; /* 0: not parked yet */
    bool is_last_call;
    uint64_t generation; /* of wakes, before the handler looked */
    size_t heap_index;   /* while it is parked */
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

struct http_listener {
    struct http_server *server;
    enum http_port port;
    size_t body_limit;
    struct MHD_Daemon *daemon;
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

    pthread_mutex_t lock; /* guards everything below */
    struct http_lane lanes[LANES];
    struct http_wakes *wakes;
    pthread_t timer;
    bool has_timer;
    pthread_cond_t timer_changed;
    pthread_cond_t became_idle;
    int running; /* suspended exchanges */
    int open;    /* exchanges that libmicrohttpd still knows */
    bool is_stopping, is_ended;
    struct http_counts *counts; /* [route_count + 1] */
};

/* Nobody has to say who he is. */
static inline bool http_is_open(const struct http_route *route)
{
    return route->access == ACCESS_PLAIN || route->access == ACCESS_OPEN;
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
void http_on_completed(void *listener, struct MHD_Connection *connection, void **state,
                       enum MHD_RequestTerminationCode why);

/* tls.c */
void http_on_agent_connection(void *server, struct MHD_Connection *connection, void **state,
                              enum MHD_ConnectionNotificationCode what);
/* Host and serial of the client certificate that the handshake verified. */
bool http_peer_host(struct MHD_Connection *connection, char host[UUID_SIZE], char serial[65],
                    struct error *err) must_check;

/* route.c */
const struct http_route *http_route_find(const struct http_server *server, enum http_port port,
                                         const char *method, const char *path,
                                         char parameters[4][129], char allow[64]);

/* problem.c */
void http_refuse(struct http_exchange *exchange, int status, const char *type, const char *detail);
void http_refuse_error(struct http_exchange *exchange, const struct error *err);

/* worker.c */
bool http_workers_start(struct http_server *server, int threads, struct error *err) must_check;
void http_workers_stop(struct http_server *server);
/* Gives a suspended exchange to its lane. Called locked. */
void http_enqueue(struct http_exchange *exchange);

/* park.c */
bool http_park_start(struct http_server *server, struct error *err) must_check;
void http_park_stop(struct http_server *server);
uint64_t http_wake_generation(struct http_server *server); /* called locked */
/* Parks it, or gives it back to its lane when it was woken since its handler looked. */
void http_park(struct http_exchange *exchange);
void http_unpark_all(struct http_server *server);

/* count.c */
void http_count_start(struct http_server *server);
void http_count_answer(struct http_exchange *exchange);
