/* What the threads of one copier share. Each worker has a connection to the destination and a
 * reader of its own; it claims chunks, writes them, flushes, and only then counts them as done. */
#pragma once

#include "agent/mirror/copier.h"
#include "agent/mirror/copy_reader.h"
#include "agent/mirror/rate.h"

#include <pthread.h>
#include <stdatomic.h>

enum {
    COPIER_WINDOW_CHUNKS = 256,    /* looked at for zeroes at once */
    COPIER_UNFLUSHED_CHUNKS = 512, /* of one worker; a flush is due at half of it */
    COPIER_FLUSH_MS = 2000,        /* or after so long */
    COPIER_TICK_MS = 200,          /* how long a worker sleeps at most */
};

struct copier_slot {
    struct copier_worker *worker;
    char *data;
    uint64_t chunk, offset, wanted;
    uint32_t size;
    int pending; /* commands in flight */
    enum { SLOT_FREE, SLOT_READING, SLOT_READ, SLOT_WRITING } state;
};

struct chunk_list {
    uint64_t items[COPIER_UNFLUSHED_CHUNKS];
    size_t count;
};

struct copier_worker {
    struct copier *copier;
    int index;
    pthread_t thread;
    struct nbd_client destination;
    struct copy_reader reader;
    struct copier_slot *slots;
    int slot_count, busy_count;
    bool can_zero;
    bool has_claimed_all;
    struct chunk_list written;  /* acknowledged, not flushed */
    struct chunk_list flushing; /* covered by the flush in flight */
    bool is_flushing;
    int64_t flushed_at_ms;
    const char *failed_what; /* a command that failed, set in its completion */
    int failed_errno;
    bool is_source_failure;
};

struct copier {
    pthread_mutex_t lock;
    pthread_cond_t has_changed;
    struct copier_source source;
    char *source_path, *export_name;
    struct copier_options options;
    struct chunk_map *map;
    uint64_t next_chunk;
    struct copy_reader holes;
    uint64_t window; /* first chunk of the window, UINT64_MAX: none yet */
    uint8_t window_zeroes[COPIER_WINDOW_CHUNKS / 8];
    struct rate_limit limit;
    bool is_paused;
    struct rate_meter meter;
    uint64_t copied_bytes, zero_bytes, sent_bytes;
    int64_t saved_at_ms;
    int running;
    bool has_threads;
    atomic_bool is_stopping;
    bool has_failed;
    struct error failure; /* the first one */
    struct copier_worker *workers;
};

enum copier_claim { CLAIM_DATA, CLAIM_ZERO, CLAIM_WAIT, CLAIM_NONE };
/* The next chunk to copy. WAIT: not before *wait_ms. */
bool copier_claim(struct copier *copier, uint64_t *chunk, uint64_t *wanted,
                  enum copier_claim *claim, int *wait_ms, struct error *err) must_check;
/* So much is about to be sent. */
void copier_spend(struct copier *copier, uint64_t bytes);
/* A chunk was written, or needs no writing. */
void copier_count(struct copier *copier, uint64_t sent_bytes, uint64_t zero_bytes);
/* These chunks are flushed at the destination. */
bool copier_mark_done(struct copier *copier, const struct chunk_list *list,
                      struct error *err) must_check;
/* Records the first failure and stops all workers. */
void copier_fail(struct copier *copier, const struct error *why);

/* Returns when all chunks are claimed, written and flushed, or after copier_fail. */
void copier_worker_run(struct copier_worker *worker);
