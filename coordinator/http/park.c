/* Parked requests: suspended until their key is woken or their time is over. Many are parked at
 * once (a poll of each agent), so they stand in one list for each slot of keys and in a heap by
 * time, and neither a wake nor the clock looks at all of them.
 *
 * A wake may come after a handler looked and before its request is parked. So each key's slot holds
 * the generation of its last wake; a request whose slot moved since its handler began is not parked
 * but looked at again. Keys that share a slot cost one needless look. */
#include "coordinator/http/server.h"

#include "base/clock.h"
#include "base/fnv.h"
#include "base/memory.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { WAKE_SLOTS = 4096 };

struct slot {
    uint64_t generation; /* of the last wake of one of its keys */
    struct http_list parked;
};

struct http_wakes {
    uint64_t generation; /* counts wakes */
    uint64_t all;        /* generation of the last wake of every key */
    struct slot slots[WAKE_SLOTS];
    struct http_exchange **heap; /* the first to end its parking on top */
    size_t count, capacity;
};

static struct slot *slot_of(struct http_wakes *wakes, const char *key)
{
    return &wakes->slots[fnv_hash(key, strlen(key)) % WAKE_SLOTS];
}

/* ---- the heap ---- */

static void place(struct http_wakes *wakes, size_t at, struct http_exchange *exchange)
{
    wakes->heap[at] = exchange;
    exchange->heap_index = at;
}

static bool is_before(const struct http_exchange *one, const struct http_exchange *other)
{
    return one->park_until_ms < other->park_until_ms;
}

static void rise(struct http_wakes *wakes, size_t at, struct http_exchange *exchange)
{
    for (; at > 0 && is_before(exchange, wakes->heap[(at - 1) / 2]); at = (at - 1) / 2)
        place(wakes, at, wakes->heap[(at - 1) / 2]);
    place(wakes, at, exchange);
}

static void sink(struct http_wakes *wakes, size_t at, struct http_exchange *exchange)
{
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= wakes->count)
            break;
        if (child + 1 < wakes->count && is_before(wakes->heap[child + 1], wakes->heap[child]))
            child++;
        if (!is_before(wakes->heap[child], exchange))
            break;
        place(wakes, at, wakes->heap[child]);
        at = child;
    }
    place(wakes, at, exchange);
}

static void heap_add(struct http_wakes *wakes, struct http_exchange *exchange)
{
    if (wakes->count == wakes->capacity) {
        wakes->capacity = wakes->capacity ? 2 * wakes->capacity : 64;
        wakes->heap = memory_resize(wakes->heap, wakes->capacity, sizeof(struct http_exchange *));
    }
    rise(wakes, wakes->count++, exchange);
}

static void heap_remove(struct http_wakes *wakes, struct http_exchange *exchange)
{
    struct http_exchange *last = wakes->heap[--wakes->count];
    size_t at = exchange->heap_index;
    if (last == exchange)
        return;
    if (at > 0 && is_before(last, wakes->heap[(at - 1) / 2]))
        rise(wakes, at, last);
    else
        sink(wakes, at, last);
}

/* ---- parking; all of it is called with the server's lock held ---- */

uint64_t http_wake_generation(struct http_server *server)
{
    return server->wakes->generation;
}

bool http_was_woken(const struct http_exchange *exchange)
{
    struct http_wakes *wakes = exchange->server->wakes;
    return wakes->all > exchange->generation ||
           slot_of(wakes, exchange->answer.park_key)->generation > exchange->generation;
}

static void give_back(struct http_exchange *exchange)
{
    struct http_wakes *wakes = exchange->server->wakes;
    http_list_remove(&slot_of(wakes, exchange->answer.park_key)->parked, exchange);
    heap_remove(wakes, exchange);
    http_enqueue(exchange);
}

static void add_parked(struct http_server *server, struct http_exchange *exchange)
{
    struct http_wakes *wakes = server->wakes;
    http_list_append(&slot_of(wakes, exchange->answer.park_key)->parked, exchange);
    heap_add(wakes, exchange);
    if (exchange->heap_index == 0)
        pthread_cond_signal(&server->timer_changed);
}

static void wake_slot(struct slot *slot, const char *key)
{
    struct http_exchange *next;
    for (struct http_exchange *parked = slot->parked.head; parked; parked = next) {
        next = parked->next;
        if (strcmp(parked->answer.park_key, key) == 0)
            give_back(parked);
    }
}

static void give_back_all(struct http_server *server, bool is_last_call)
{
    while (server->wakes->count > 0) {
        server->wakes->heap[0]->is_last_call = is_last_call;
        give_back(server->wakes->heap[0]);
    }
}

void http_park(struct http_exchange *exchange)
{
    struct http_server *server = exchange->server;
    int64_t now_ms = clock_monotonic_ms();
    if (!exchange->park_until_ms)
        exchange->park_until_ms = now_ms + exchange->answer.park_ms;
    pthread_mutex_lock(&server->lock);
    bool is_over = now_ms >= exchange->park_until_ms || server->is_stopping;
    exchange->is_last_call = is_over;
    if (is_over || http_was_woken(exchange))
        http_enqueue(exchange);
    else
        add_parked(server, exchange);
    pthread_mutex_unlock(&server->lock);
}

void http_wake(struct http_server *server, const char *key)
{
    pthread_mutex_lock(&server->lock);
    struct http_wakes *wakes = server->wakes;
    wakes->generation++;
    if (key[0]) {
        struct slot *slot = slot_of(wakes, key);
        slot->generation = wakes->generation;
        wake_slot(slot, key);
    } else {
        wakes->all = wakes->generation;
        give_back_all(server, false);
    }
    pthread_mutex_unlock(&server->lock);
}

int http_parked(struct http_server *server)
{
    pthread_mutex_lock(&server->lock);
    int parked = (int)server->wakes->count;
    pthread_mutex_unlock(&server->lock);
    return parked;
}

/* Gives back what is due; returns when the next one is (0: none). */
static int64_t give_back_due(struct http_server *server)
{
    struct http_wakes *wakes = server->wakes;
    int64_t now_ms = clock_monotonic_ms();
    while (wakes->count > 0 && wakes->heap[0]->park_until_ms <= now_ms) {
        wakes->heap[0]->is_last_call = true;
        wakes->heap[0]->was_parked_out = true;
        give_back(wakes->heap[0]);
    }
    return wakes->count ? wakes->heap[0]->park_until_ms : 0;
}

static void *keep_time(void *context)
{
    struct http_server *server = context;
    pthread_mutex_lock(&server->lock);
    while (!server->is_ended) {
        int64_t next_ms = give_back_due(server);
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
    give_back_all(server, true);
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
    free(server->wakes->heap);
    free(server->wakes);
    server->wakes = NULL;
}
