/* The source's end of one memory stream: a pump frames what the hypervisor saves, a reader takes
 * what the destination says, a watcher ends the stream when the peer falls silent. The first
 * failure ends all of it; every later call returns it. */
#pragma once

#include "agent/handoff/frame.h"
#include "protocol/spec.h"

struct outgoing;

enum {
    /* The destination says ALIVE twice a second. While the guest is suspended each silent second is
     * one that it does not run; before that nobody suffers. */
    SILENCE_LIMIT_LIVE_MS = 30000,
    SILENCE_LIMIT_SUSPENDED_MS = 5000,
    ALIVE_INTERVAL_MS = 500,
};

/* Takes the accepted stream over. */
struct outgoing *outgoing_start(struct link_stream *stream);
/* Ends the stream, joins the threads, frees; NULL is fine. */
void outgoing_stop(struct outgoing *outgoing);
/* The failure from outside: a cancel. Any thread; what waits returns it. */
void outgoing_fail(struct outgoing *outgoing, const struct error *why);
bool outgoing_has_failed(struct outgoing *outgoing);
/* The first failure, which explains more than the ones that it led to: into `err`, if there is one.
 * Returns false, for `return ok || outgoing_failure(...)`. */
bool outgoing_failure(struct outgoing *outgoing, struct error *err);
/* The destination said FAILED: it has durably abandoned the epoch. */
bool outgoing_was_abandoned(struct outgoing *outgoing);

bool outgoing_send(struct outgoing *outgoing, enum frame_type type, const void *payload,
                   size_t size, struct error *err) must_check;
/* Frames what comes from the pipe `fd` until its end and keeps the tail; takes fd over. */
void outgoing_pump(struct outgoing *outgoing, int fd);
/* From now on the short limit of silence holds. */
void outgoing_suspended(struct outgoing *outgoing);
/* The pipe has ended and all but the tail is sent. */
bool outgoing_wait_pumped(struct outgoing *outgoing, int timeout_ms, struct error *err) must_check;
/* The tail and END in one write. */
bool outgoing_release_tail(struct outgoing *outgoing, struct error *err) must_check;
/* FLUSHED, PREPARED or RUNNING. */
bool outgoing_wait(struct outgoing *outgoing, enum frame_type type, int timeout_ms,
                   struct error *err) must_check;
