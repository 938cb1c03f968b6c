/* The feed's thread; see event_feed.h. Readers come in under the lock and belong to the thread from
 * then on, as does the ring. */
#include "coordinator/event/event_feed.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "coordinator/db/db.h"
#include "coordinator/event/event_number.h"
#include "coordinator/event/event_reader.h"
#include "coordinator/http/http.h"
#include "coordinator/store/event_store.h"
#include "coordinator/store/webhook_delivery.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

enum {
    POLL_MS = 1000, /* a notification can be missed, and readers want signs of life */
    EXPIRE_MS = 10000,
    EXPIRE_MOST = 5000,
    PAGE = 500,
    TAKE_TIMEOUT_MS = 2000,
};

struct event_feed {
    struct db_pool *pool;
    struct event_feed_config config;
    pthread_t thread;
    struct event_ring ring;
    bool is_placed; /* the ring's position is known */
    struct event_reader *readers;
    int64_t expired_ms;
    bool has_failed; /* the last round; logged once until one succeeds */

    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t changed;
    struct event_reader *incoming;
    bool is_woken, is_stopping;
};

static const struct event_filter everything = {0};

/* ---- the database's side ---- */

static bool number(struct event_feed *feed, struct db *db, struct error *err)
{
    bool is_more = true;
    while (is_more) {
        if (!event_number(db, &is_more, err))
            return false;
    }
    if (clock_monotonic_ms() - feed->expired_ms < EXPIRE_MS)
        return true;
    feed->expired_ms = clock_monotonic_ms();
    return event_store_expire(db, feed->config.retained_h, EXPIRE_MOST, err) &&
           webhook_delivery_expire(db, feed->config.retained_h, EXPIRE_MOST, err);
}

static bool place(struct event_feed *feed, struct db *db, struct error *err)
{
    struct event_bounds bounds;
    if (feed->is_placed)
        return true;
    if (!event_store_bounds(db, &bounds, err))
        return false;
    event_ring_init(&feed->ring, bounds.newest);
    feed->is_placed = true;
    return true;
}

static bool collect(struct event_feed *feed, struct db *db, struct error *err)
{
    for (bool is_more = true; is_more;) {
        auto_db_rows struct db_rows *rows = NULL;
        if (!event_store_read(db, &everything, feed->ring.newest, INT64_MAX, PAGE, &rows, err) ||
            !event_ring_add(&feed->ring, rows, err))
            return false;
        is_more = db_count(rows) == PAGE;
    }
    return true;
}

/* *is_more: there is a reader behind that takes another page at once. */
static bool catch_up(struct event_feed *feed, struct db *db, bool *is_more, struct error *err)
{
    for (struct event_reader **place = &feed->readers; *place;) {
        struct event_reader *reader = *place;
        bool is_lost = false;
        if (event_reader_is_behind(reader, &feed->ring)) {
            if (!event_reader_catch_up(reader, db, &feed->ring, &is_lost, err))
                return false;
            *is_more = *is_more || event_reader_is_behind(reader, &feed->ring);
        }
        if (is_lost) {
            *place = reader->next;
            event_reader_free(reader);
        } else {
            place = &reader->next;
        }
    }
    return true;
}

static bool ask_database(struct event_feed *feed, bool *is_more, struct error *err)
{
    auto_db struct db *db = NULL;
    return db_take(feed->pool, TAKE_TIMEOUT_MS, &db, err) && place(feed, db, err) &&
           number(feed, db, err) && collect(feed, db, err) && catch_up(feed, db, is_more, err);
}

/* ---- the readers' side ---- */

static void take_incoming(struct event_feed *feed)
{
    pthread_mutex_lock(&feed->lock);
    struct event_reader *incoming = feed->incoming;
    feed->incoming = NULL;
    pthread_mutex_unlock(&feed->lock);
    while (incoming) {
        struct event_reader *next = incoming->next;
        incoming->next = feed->readers;
        feed->readers = incoming;
        incoming = next;
    }
}

static void serve(struct event_feed *feed)
{
    for (struct event_reader **place = &feed->readers; *place;) {
        struct event_reader *reader = *place;
        if (event_reader_serve(reader, &feed->ring)) {
            place = &reader->next;
            continue;
        }
        *place = reader->next;
        event_reader_free(reader);
    }
}

/* True when there is more to do at once. */
static bool run_round(struct event_feed *feed)
{
    struct error err;
    bool is_more = false;
    take_incoming(feed);
    bool is_done = ask_database(feed, &is_more, &err);
    if (!is_done && !feed->has_failed)
        log_error("events: %s", err.text);
    if (is_done && feed->has_failed)
        log_info("events: work again");
    feed->has_failed = !is_done;
    if (feed->is_placed)
        serve(feed);
    return is_done && is_more;
}

/* False when it is time to stop. */
static bool rest(struct event_feed *feed, bool is_more)
{
    struct timespec until;
    int64_t wake_ms = clock_monotonic_ms() + (is_more ? 0 : POLL_MS);
    until.tv_sec = (time_t)(wake_ms / 1000);
    until.tv_nsec = (long)(wake_ms % 1000) * 1000000;
    pthread_mutex_lock(&feed->lock);
    int result = 0;
    while (!feed->is_stopping && !feed->is_woken && result == 0)
        result = pthread_cond_timedwait(&feed->changed, &feed->lock, &until);
    feed->is_woken = false;
    bool goes_on = !feed->is_stopping;
    pthread_mutex_unlock(&feed->lock);
    return goes_on;
}

static void *run(void *context)
{
    struct event_feed *feed = context;
    while (rest(feed, run_round(feed)))
        ;
    return NULL;
}

/* ---- start and stop ---- */

bool event_feed_start(struct event_feed **out, struct db_pool *pool,
                      const struct event_feed_config *config, struct error *err)
{
    struct event_feed *feed = memory_alloc(sizeof *feed);
    feed->pool = pool;
    feed->config = *config;
    event_ring_init(&feed->ring, 0);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&feed->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&feed->lock, NULL);
    int failure = pthread_create(&feed->thread, NULL, run, feed);
    if (failure) {
        event_feed_free(feed);
        return error_set_errno(err, ERROR_INTERNAL, failure, "event thread");
    }
    *out = feed;
    return true;
}

static void wake(void *context)
{
    event_feed_wake(context);
}

void event_feed_wake(struct event_feed *feed)
{
    pthread_mutex_lock(&feed->lock);
    feed->is_woken = true;
    pthread_cond_signal(&feed->changed);
    pthread_mutex_unlock(&feed->lock);
}

void event_feed_stop(struct event_feed *feed)
{
    if (!feed)
        return;
    pthread_mutex_lock(&feed->lock);
    feed->is_stopping = true;
    pthread_cond_signal(&feed->changed);
    pthread_mutex_unlock(&feed->lock);
    pthread_join(feed->thread, NULL);
}

void event_feed_free(struct event_feed *feed)
{
    if (!feed)
        return;
    take_incoming(feed);
    while (feed->readers) {
        struct event_reader *reader = feed->readers;
        feed->readers = reader->next;
        event_reader_free(reader);
    }
    event_ring_done(&feed->ring);
    pthread_mutex_destroy(&feed->lock);
    pthread_cond_destroy(&feed->changed);
    free(feed);
}

bool event_feed_open(struct event_feed *feed, struct http_request *request,
                     const struct event_filter *filter, int64_t after, struct error *err)
{
    struct http_stream *stream = NULL;
    if (!http_stream_open(request, wake, feed, &stream, err))
        return false;
    struct event_reader *reader = event_reader_new(stream, filter, after);
    pthread_mutex_lock(&feed->lock);
    reader->next = feed->incoming;
    feed->incoming = reader;
    feed->is_woken = true;
    pthread_cond_signal(&feed->changed);
    pthread_mutex_unlock(&feed->lock);
    return true;
}
