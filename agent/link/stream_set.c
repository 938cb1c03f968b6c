/* The living streams of one server: how many there may be, and how to wake them all. Streams may
 * outlive their server in the hands of relays, so the set belongs to both. */
#include "agent/link/stream.h"

#include "base/memory.h"

#include <stdlib.h>

struct stream_set {
    pthread_mutex_t lock;
    struct link_stream *first;
    int count, limit;
    bool is_closed, is_released;
};

struct stream_set *stream_set_new(int limit)
{
    struct stream_set *set = memory_alloc(sizeof *set);
    pthread_mutex_init(&set->lock, NULL);
    set->limit = limit;
    return set;
}

bool stream_set_add(struct stream_set *set, struct link_stream *stream, struct error *err)
{
    bool is_added = false;
    pthread_mutex_lock(&set->lock);
    if (set->is_closed) {
        error_set(err, ERROR_CANCELLED, "the link is shutting down");
    } else if (set->count >= set->limit) {
        error_set(err, ERROR_NO_SPACE, "%d streams are open, the most there may be", set->limit);
    } else {
        stream->set = set;
        stream->next = set->first;
        if (set->first)
            set->first->previous = stream;
        set->first = stream;
        set->count++;
        is_added = true;
    }
    pthread_mutex_unlock(&set->lock);
    return is_added;
}

/* Unlocks, and frees the set when nobody holds it any more. */
static void leave(struct stream_set *set)
{
    bool is_last = set->is_released && set->count == 0;
    pthread_mutex_unlock(&set->lock);
    if (!is_last)
        return;
    pthread_mutex_destroy(&set->lock);
    free(set);
}

void stream_set_remove(struct link_stream *stream)
{
    struct stream_set *set = stream->set;
    if (!set)
        return;
    pthread_mutex_lock(&set->lock);
    if (stream->previous)
        stream->previous->next = stream->next;
    else
        set->first = stream->next;
    if (stream->next)
        stream->next->previous = stream->previous;
    set->count--;
    stream->set = NULL;
    leave(set);
}

void stream_set_close(struct stream_set *set)
{
    pthread_mutex_lock(&set->lock);
    set->is_closed = true;
    for (struct link_stream *stream = set->first; stream; stream = stream->next)
        link_shutdown(stream);
    pthread_mutex_unlock(&set->lock);
}

void stream_set_release(struct stream_set *set)
{
    pthread_mutex_lock(&set->lock);
    set->is_released = true;
    leave(set);
}
