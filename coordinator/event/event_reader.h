/* One client of the event stream, served by the feed's thread. */
#pragma once

#include "coordinator/event/event_ring.h"

struct db;
struct http_stream;

struct event_reader {
    struct http_stream *stream;
    struct event_filter filter;
    char *scope;      /* the filter's */
    int64_t position; /* all that it wants up to here was sent */
    int64_t opened_ms, sent_ms;
    int64_t full_since_ms; /* 0: its stream takes more */
    struct event_reader *next;
};

struct event_reader *event_reader_new(struct http_stream *stream, const struct event_filter *filter,
                                      int64_t after);
/* Ends its stream. */
void event_reader_free(struct event_reader *reader);

/* Sends what the ring holds after its position, and a sign of life when nothing was sent for long.
 * False: it is to be let go (its client left, takes nothing, or was served long enough). */
bool event_reader_serve(struct event_reader *reader, const struct event_ring *ring) must_check;
/* It is behind the ring and takes more: serve it a page from the database. */
bool event_reader_is_behind(const struct event_reader *reader, const struct event_ring *ring);
/* *is_lost: what comes next is not retained any more; it is to be let go. */
bool event_reader_catch_up(struct event_reader *reader, struct db *db,
                           const struct event_ring *ring, bool *is_lost,
                           struct error *err) must_check;
