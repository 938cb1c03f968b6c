/* Parked requests: suspended, in a list, until their key is woken or their time is over.
 *
 * A wake may come after a handler looked and before its request is parked. So each key's slot holds
 * the generation of its last wake; a request whose slot moved since its handler began is not parked
 * but looked at again. Keys that share a slot cost one needless look. */
#include "coordinator/http/server.h"

#include "base/clock.h"
#include "base/fnv.h"
#include "base/memory.h"

#include <stdint.h>
#include <string.h>
#include <time.h>

enum { WAKE_SLOTS = 1024 };

struct http_wakes {
    uint64_t generation;        /* counts wakes */
    uint64_t all;               /* generation of the last wake of every key */
    uint64_t slots[WAKE_SLOTS]; /* generation of the last wake of a key */
};

static size_t slot_of(const char *key)
{
    return fnv_hash(key, strlen(key)) % WAKE_SLOTS;
}

uint64_t http_wake_generation(struct http_server *server)
{
    return server->wakes->generation;
}

static void give_back(struct http_exchange *exchange)
{
    http_list_remove(&exchange->server->parked, exchange);
    http_enqueue(exchange);
}

void http_park(struct http_exchange *exchange)
{
    struct http_server *server = exchange->server;
    int64_t now_ms = clock_monotonic_ms();
    if (!exchange->park_until_ms)
        exchange->park_until_ms = now_ms + exchange->answer.park_ms;
    pthread_mutex_lock(&server->lock);
    struct http_wakes *wakes = server->wakes;
    bool is_over = now_ms >= exchange->park_until_ms || server->is_stopping;
    bool was_woken = wakes->all > exchange->generation ||
                     wakes->slots[slot_of(exchange->answer.park_key)] > exchange->generation;
    exchange->is_last_call = is_over;
    if (is_over || was_woken) {
        http_enqueue(exchange);
    } else {
        http_list_append(&server->parked, exchange);
        pthread_cond_signal(&server->timer_changed);
    }
    pthread_mutex_unlock(&server->lock);
}

void http_wake(struct http_server *server, const char *key)
{
    pthread_mutex_lock(&server->lock);
    struct http_wakes *wakes = server->wakes;
    wakes->generation++;
    if (key[0])
        wakes->slots[slot_of(key)] = wakes->generation;
    else
        wakes->all = wakes->generation;
    struct http_exchange *next;
    for (struct http_exchange *parked = server->parked.head; parked; parked = next) {
        next = parked->next;
        if (!key[0] || strcmp(parked->answer.park_key, key) == 0)
            give_back(parked);
    }
    pthread_mutex_unlock(&server->lock);
}

int http_parked(struct http_server *server)
{
    pthread_mutex_lock(&server->lock);
    int parked = server->parked.length;
    pthread_mutex_unlock(&server->lock);
    return parked;
}

/* Gives back what is due; returns when the next one is (0: none). Called locked. */
static int64_t give_back_due(struct http_server *server, bool is_all)
{
    int64_t now_ms = clock_monotonic_ms(), first_ms = 0;
    struct http_exchange *next;
    for (struct http_exchange *parked = server->parked.head; parked; parked = next) {
        next = parked->next;
        if (is_all || parked->park_until_ms <= now_ms) {
            parked->is_last_call = true;
            give_back(parked);
        } else if (!first_ms || parked->park_until_ms < first_ms) {
            first_ms = parked->park_until_ms;
        }
    }
    return first_ms;
}

static void *keep_time(void *context)
{
    struct http_server *server = context;
    pthread_mutex_lock(&server->lock);
    while (!server->is_ended) {
        int64_t next_ms = give_back_due(server, false);
        struct timespec until = {.tv_sec = (time_t)(next_ms / 1000),
                                 .tv_nsec = (long)(next_ms % 1000) * 1000000};
        if (next_ms)
            pthread_cond_timedwait(&server->timer_changed, &server->lock, &until);
        else
            pthread_cond_wait(&server->timer_changed, &server->lock);
    }
    pthread_mutex_unlock(&server->lock);
    return NULL;
}

bool http_park_start(struct http_server *server, struct error *err)
{
    server->wakes = memory_alloc(sizeof *server->wakes);
    int failed = pthread_create(&server->timer, NULL, keep_time, server);
    if (failed)
        return error_set_errno(err, ERROR_INTERNAL, failed,
                               "starting the timer of parked requests");
    server->has_timer = true;
    return true;
}

void http_unpark_all(struct http_server *server)
{
    pthread_mutex_lock(&server->lock);
    (void)give_back_due(server, true);
    pthread_mutex_unlock(&server->lock);
}

/* After is_ended was set. */
void http_park_stop(struct http_server *server)
{
    pthread_mutex_lock(&server->lock);
    pthread_cond_signal(&server->timer_changed);
    pthread_mutex_unlock(&server->lock);
    if (server->has_timer)
        pthread_join(server->timer, NULL);
}
