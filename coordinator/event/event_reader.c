/* Serves one client; see event_reader.h. */
#include "coordinator/event/event_reader.h"

#include "base/clock.h"
#include "base/memory.h"
#include "coordinator/event/sse.h"
#include "coordinator/http/http.h"
#include "coordinator/store/event_store.h"

#include <stdlib.h>

enum {
    HEARTBEAT_MS = 15000,
    SLOW_MS = 30000,          /* a full stream has to become half empty in that time */
    LIFE_MS = 15 * 60 * 1000, /* then the client comes again and is asked for its token */
    PAGE = 200,
    SCAN = 20000, /* sequences that one query looks through */
    TEXT_SIZE = 64 << 10,
    POSITION_SIZE = 128,
};

static bool send_position(struct event_reader *reader, const char *comment)
{
    struct buffer text;
    struct error err;
    buffer_init(&text, POSITION_SIZE);
    bool is_sent = sse_position(&text, reader->position, comment, &err) &&
                   http_stream_send(reader->stream, text.data, text.size);
    buffer_done(&text);
    reader->sent_ms = clock_monotonic_ms();
    return is_sent;
}

struct event_reader *event_reader_new(struct http_stream *stream, const struct event_filter *filter,
                                      int64_t after)
{
    struct event_reader *reader = memory_alloc(sizeof *reader);
    reader->stream = stream;
    reader->filter = *filter;
    reader->scope = filter->scope ? memory_copy_text(filter->scope) : NULL;
    reader->filter.scope = reader->scope;
    reader->position = after;
    reader->opened_ms = clock_monotonic_ms();
    /* so that a client that breaks off before its first event knows where to go on */
    (void)send_position(reader, "crosspool events");
    return reader;
}

void event_reader_free(struct event_reader *reader)
{
    http_stream_end(reader->stream);
    free(reader->scope);
    free(reader);
}

static bool send_text(struct event_reader *reader, const char *text, size_t size)
{
    if (!http_stream_send(reader->stream, text, size)) {
        reader->full_since_ms = clock_monotonic_ms();
        return false;
    }
    reader->sent_ms = clock_monotonic_ms();
    return true;
}

static bool has_room(struct event_reader *reader)
{
    if (reader->full_since_ms && http_stream_has_room(reader->stream))
        reader->full_since_ms = 0;
    return !reader->full_since_ms;
}

static void send_ring(struct event_reader *reader, const struct event_ring *ring)
{
    while (reader->position + 1 >= ring->oldest && reader->position < ring->newest) {
        const struct event_item *item = event_ring_at(ring, reader->position + 1);
        if (event_is_wanted(&reader->filter, item->resource, item->id, item->pools) &&
            !send_text(reader, item->text, item->size))
            return;
        reader->position++;
    }
}

bool event_reader_serve(struct event_reader *reader, const struct event_ring *ring)
{
    int64_t now_ms = clock_monotonic_ms();
    if (!http_stream_is_open(reader->stream) || now_ms - reader->opened_ms > LIFE_MS)
        return false;
    if (!has_room(reader))
        return now_ms - reader->full_since_ms <= SLOW_MS;
    send_ring(reader, ring);
    if (!reader->full_since_ms && now_ms - reader->sent_ms >= HEARTBEAT_MS)
        (void)send_position(reader, "heartbeat");
    return true;
}

bool event_reader_is_behind(const struct event_reader *reader, const struct event_ring *ring)
{
    return reader->position + 1 < ring->oldest && !reader->full_since_ms;
}

static bool send_rows(struct event_reader *reader, const struct db_rows *rows, struct error *err)
{
    struct buffer text;
    buffer_init(&text, TEXT_SIZE);
    bool is_good = true;
    for (int i = 0; is_good && i < db_count(rows) && !reader->full_since_ms; i++) {
        int64_t sequence = db_value_int(rows, i, "sequence");
        buffer_clear(&text);
        is_good =
            sse_event(&text, sequence, db_value(rows, i, "kind"), db_value(rows, i, "data"), err);
        if (is_good && send_text(reader, text.data, text.size))
            reader->position = sequence;
    }
    buffer_done(&text);
    return is_good;
}

bool event_reader_catch_up(struct event_reader *reader, struct db *db,
                           const struct event_ring *ring, bool *is_lost, struct error *err)
{
    auto_db_rows struct db_rows *rows = NULL;
    struct event_bounds bounds;
    int64_t before = reader->position;
    int64_t upto = ring->oldest - 1 < before + SCAN ? ring->oldest - 1 : before + SCAN;
    if (!event_store_read(db, &reader->filter, before, upto, PAGE, &rows, err) ||
        !event_store_bounds(db, &bounds, err))
        return false;
    /* asked after the reading, so that nothing that was removed before it goes unseen */
    *is_lost = before + 1 < bounds.oldest;
    if (*is_lost)
        return true;
    if (!send_rows(reader, rows, err))
        return false;
    if (!reader->full_since_ms && db_count(rows) < PAGE)
        reader->position = upto;
    return true;
}
