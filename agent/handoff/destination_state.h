/* What destination.c (the protocol), incoming.c (the stream) and verdict.c share. */
#pragma once

#include "agent/handoff/frame.h"
#include "agent/handoff/handoff.h"

#include <pthread.h>

/* How far the stream has come; only forward. */
enum receive_phase {
    RECEIVE_WAITING,  /* no stream yet */
    RECEIVE_STREAM,   /* the restore reads it */
    RECEIVE_ENDED,    /* END came: the restore finishes */
    RECEIVE_PREPARED, /* PREPARED is said: GO may come */
};

struct handoff_destination {
    struct handoff_environment environment;
    const struct migration_spec *spec;
    char step[UUID_SIZE];
    int64_t epoch;
    enum handoff_state begun; /* of this epoch, in the journal, when it was opened; NONE: fresh */

    pthread_mutex_t write_mutex; /* several threads answer on the stream */
    pthread_mutex_t mutex;       /* guards what follows */
    pthread_cond_t changed;
    struct link_stream *stream; /* accepted, to be written to; changes under both mutexes */
    bool had_stream;            /* of this epoch: there is only one */
    bool is_serving;            /* its thread is in handoff_destination_serve */
    bool is_going;              /* its thread is in destination_go */
    enum receive_phase phase;
    int64_t progress_ms;          /* when the phase or the stream last went on */
    enum handoff_verdict verdict; /* durable */
    bool is_unpaused;
    bool has_reason;
    struct error reason; /* why it is or will be abandoned: the first one */
};

int64_t destination_epoch(const struct handoff_destination *destination);
/* Remembers the first reason and wakes handoff_destination_run, which abandons. */
void destination_fail(struct handoff_destination *destination, const struct error *why);
void destination_advance(struct handoff_destination *destination, enum receive_phase phase);
/* Makes the epoch ABANDONED, unless a GO was quicker: then the verdict is OWNED. */
bool destination_settle(struct handoff_destination *destination, enum handoff_verdict *verdict,
                        struct error *err) must_check;
/* GO came. CHECK_DESTINATION_OWNED_BEFORE_UNPAUSE. False: it does not count (any more), or the
 * domain did not unpause at once, which handoff_destination_run then goes on trying. */
bool destination_go(struct handoff_destination *destination, struct error *err) must_check;
/* The source of this epoch asks what became of it, so it has ended its stream: a GO that is still
 * to be read is waited for, otherwise the epoch is abandoned. */
bool destination_settle_for_source(struct handoff_destination *destination,
                                   enum handoff_verdict *verdict, struct error *err) must_check;

/* Serves the accepted stream to its end: returns when the source has closed it, or it broke, and
 * its threads are joined. */
void incoming_serve(struct handoff_destination *destination, struct link_stream *stream);
/* Writes one frame on the stream of this epoch, if there is one. */
bool incoming_say(struct handoff_destination *destination, enum frame_type type,
                  const void *payload, size_t size, struct error *err) must_check;
