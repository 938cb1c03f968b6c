/* The inside of a relay: what its thread moves between the local socket and the stream. */
#pragma once

#include "agent/link/nbd_watch.h"
#include "agent/link/stream.h"
#include "agent/link/token_bucket.h"

enum { RELAY_BUFFER = STREAM_BATCH };

/* One direction: bytes that were read on one side and not written on the other. */
struct relay_pipe {
    char *data;
    size_t start, end;
    bool has_read_end;   /* the source is at its end */
    bool has_passed_end; /* the sink was told */
};

/* A side's last try met EAGAIN: poll before the next. */
struct relay_splice {
    struct link_stream *stream;
    int local;
    bool is_local_unreadable, is_local_unwritable;
    bool is_peer_unreadable, is_peer_unwritable;
    bool is_local_gone;         /* the client closed both directions: what it is sent is dropped */
    bool is_peer_gone;          /* it takes nothing any more; what it sent is still read */
    bool is_end_queued;         /* our close_notify is in the stream's outgoing bytes */
    struct relay_pipe up, down; /* towards the peer, towards the local socket */
    struct token_bucket bucket;
    bool is_throttled;
    struct nbd_watch *watch; /* NULL: not watched */
    uint64_t sent_bytes, received_bytes;
};

void relay_splice_init(struct relay_splice *splice, struct link_stream *stream, int local,
                       int64_t bandwidth_bytes_per_s, struct nbd_watch *watch);
void relay_splice_done(struct relay_splice *splice); /* frees buffers only */
/* Moves what can be moved now in both directions, about one buffer each. *has_moved: worth another
 * call before waiting. False: a side failed or does not speak NBD. */
bool relay_splice_move(struct relay_splice *splice, bool *has_moved, struct error *err) must_check;
/* Both directions are at their end and it was passed on. */
bool relay_splice_has_ended(const struct relay_splice *splice);
/* Waits until something can be moved, the stream is shut down, or the deadline. */
void relay_splice_wait(struct relay_splice *splice, int timeout_ms);
