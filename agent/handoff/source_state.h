/* What source.c (the protocol) and source_stream.c (the stream up to PREPARED) share. */
#pragma once

#include "agent/handoff/handoff.h"
#include "agent/handoff/outgoing.h"
#include "agent/handoff/verdict.h"
#include "agent/mirror/guest_run.h"

#include <pthread.h>

enum {
    ASK_FIRST_MS = 100, /* backoff of the questions in RELEASED */
    ASK_LAST_MS = 5000,
};

struct handoff_source {
    struct handoff_environment environment;
    const struct migration_spec *spec;
    char step[UUID_SIZE];
    int64_t epoch;
    struct transfer *transfer;
    enum handoff_state begun; /* of this epoch, in the journal, when it was opened */
    int64_t suspended_at_us;

    pthread_mutex_t mutex; /* guards what follows */
    pthread_cond_t changed;
    struct outgoing *outgoing;
    bool is_cancelled, is_released, is_stopping;
    bool is_deserted; /* the destination has abandoned this epoch */
    enum handoff_verdict concluded;
    enum migration_phase phase;
    struct memory_progress memory;
    int64_t pause_us;
};

/* Whose run is moved; what it holds is borrowed. */
struct guest source_guest(const struct handoff_source *source);
void source_set_phase(struct handoff_source *source, enum migration_phase phase);

/* From the connection to PREPARED. False: it failed; *is_suspended says whether the domain must be
 * resumed. */
bool source_stream(struct handoff_source *source, bool *is_suspended, struct error *err) must_check;
/* Ends the stream, if there is one. */
void source_close_stream(struct handoff_source *source);
