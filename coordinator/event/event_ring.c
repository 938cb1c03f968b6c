/* The ring of newest events; see event_ring.h. */
#include "coordinator/event/event_ring.h"

#include "base/memory.h"
#include "coordinator/db/db.h"
#include "coordinator/event/sse.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EVENT_SIZE = 64 << 10 };

void event_ring_init(struct event_ring *ring, int64_t newest)
{
    memset(ring, 0, sizeof *ring);
    ring->newest = newest;
    ring->oldest = newest + 1;
}

static void drop_oldest(struct event_ring *ring)
{
    struct event_item *item = &ring->items[ring->oldest % EVENT_RING_ITEMS];
    ring->bytes -= item->size;
    free(item->pools);
    free(item->text);
    *item = (struct event_item){0};
    ring->oldest++;
}

void event_ring_done(struct event_ring *ring)
{
    while (ring->oldest <= ring->newest)
        drop_oldest(ring);
}

static bool encode(const struct db_rows *rows, int row, struct event_item *item, struct error *err)
{
    struct buffer text;
    buffer_init(&text, EVENT_SIZE);
    if (!sse_event(&text, db_value_int(rows, row, "sequence"), db_value(rows, row, "kind"),
                   db_value(rows, row, "data"), err)) {
        buffer_done(&text);
        return false;
    }
    snprintf(item->resource, sizeof item->resource, "%s", db_value(rows, row, "resource"));
    snprintf(item->id, sizeof item->id, "%s", db_value(rows, row, "resource_id"));
    item->pools = memory_copy_text(db_value(rows, row, "pools"));
    item->size = text.size;
    item->text = buffer_take(&text);
    return true;
}

bool event_ring_add(struct event_ring *ring, const struct db_rows *rows, struct error *err)
{
    for (int i = 0; i < db_count(rows); i++) {
        int64_t sequence = db_value_int(rows, i, "sequence");
        struct event_item item = {0};
        if (!encode(rows, i, &item, err))
            return error_prefix(err, "event %lld", (long long)sequence);
        if (sequence != ring->newest + 1) {
            event_ring_done(ring);
            ring->oldest = sequence;
        }
        ring->newest = sequence;
        ring->items[sequence % EVENT_RING_ITEMS] = item;
        ring->bytes += item.size;
        while (ring->bytes > EVENT_RING_BYTES ||
               ring->newest - ring->oldest >= EVENT_RING_ITEMS - 1)
            drop_oldest(ring);
    }
    return true;
}

const struct event_item *event_ring_at(const struct event_ring *ring, int64_t sequence)
{
    return &ring->items[sequence % EVENT_RING_ITEMS];
}
