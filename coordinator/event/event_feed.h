/* The feed of events: one thread of each coordinator numbers what was written, reads it once, and
 * gives it to all streams. */
#pragma once

#include "coordinator/domain/event.h"

#include <stdint.h>

struct db_pool;
struct event_feed;
struct http_request;

struct event_feed_config {
    int retained_h; /* older events are removed */
};

bool event_feed_start(struct event_feed **out, struct db_pool *pool,
                      const struct event_feed_config *config, struct error *err) must_check;
/* Something was written or numbered. Any thread. */
void event_feed_wake(struct event_feed *feed);
/* Ends the thread; NULL is fine. Streams still may call the feed until the server has stopped. */
void event_feed_stop(struct event_feed *feed);
void event_feed_free(struct event_feed *feed);

/* Makes the events after `after` that the filter wants the request's answer. */
bool event_feed_open(struct event_feed *feed, struct http_request *request,
                     const struct event_filter *filter, int64_t after,
                     struct error *err) must_check;
