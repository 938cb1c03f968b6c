/* The newest events in memory, encoded, for one thread. Their sequences are contiguous. */
#pragma once

#include "coordinator/domain/event.h"

#include <stdint.h>

struct db_rows;

struct event_item {
    char resource[EVENT_RESOURCE_SIZE];
    char id[UUID_SIZE];
    char *pools;
    char *text; /* as server-sent event */
    size_t size;
};
enum { EVENT_RING_ITEMS = 4096, EVENT_RING_BYTES = 4 << 20 };
struct event_ring {
    struct event_item items[EVENT_RING_ITEMS]; /* that of sequence s at s % EVENT_RING_ITEMS */
    int64_t oldest, newest;                    /* oldest is newest + 1 when empty */
    size_t bytes;
};

/* Empty, after `newest`. */
void event_ring_init(struct event_ring *ring, int64_t newest);
void event_ring_done(struct event_ring *ring);
/* Adds rows of event_store_read; the oldest go when there is no more room. Sequences that do not
 * follow the newest empty it first. */
bool event_ring_add(struct event_ring *ring, const struct db_rows *rows,
                    struct error *err) must_check;
/* oldest <= sequence <= newest */
const struct event_item *event_ring_at(const struct event_ring *ring, int64_t sequence);
