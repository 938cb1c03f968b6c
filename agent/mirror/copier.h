/* The background copy of one live disk: reads the image from outside QEMU, writes to the receiver's
 * copy.N through the link. Chunks are flushed at the destination before they count. */
#pragma once

#include "agent/hypervisor/hypervisor.h"
#include "agent/mirror/chunk_map.h"
#include "base/error.h"

#include <stdint.h>

enum { COPY_CHUNK_BYTES = 256 << 10 };

struct copier; /* runs on its own threads */

struct copier_source {
    enum disk_reader reader; /* FILE: path is a file or device; otherwise a unix NBD socket */
    const char *path;
    uint64_t size_bytes;
    bool may_skip_holes; /* only in the first epoch, onto a fresh destination */
};
struct copier_options {
    int connections; /* NBD connections to the destination */
    int queue_depth; /* requests in flight in all */
    uint64_t bandwidth_bytes_per_s;
    /* Opens connection i to the destination: a connected local socket that speaks NBD. Called on
     * the copier's own threads, several at once; a cancellation waits for it. */
    bool (*connect)(void *context, int i, int *fd, struct error *err);
    void *context;
    const char *export_name; /* copy.N */
};
struct copier_numbers {
    uint64_t copied_bytes; /* written at the destination or found to be zero there */
    uint64_t zero_bytes;   /* part of it that was not sent */
    uint64_t sent_bytes;
    uint64_t rate_bytes_per_s; /* of copied_bytes, over the last seconds */
    bool has_ended;
};

/* Copies all chunks of the map that are not flushed. The map stays owned by the caller and must not
 * be touched until the copier was joined. */
bool copier_start(struct copier **out, const struct copier_source *source, struct chunk_map *map,
                  const struct copier_options *options, struct error *err) must_check;
void copier_numbers(struct copier *copier, struct copier_numbers *out);
void copier_set_bandwidth(struct copier *copier, uint64_t bytes_per_s);
/* A paused copier begins no further chunk; what is under way is finished and flushed. */
void copier_set_paused(struct copier *copier, bool is_paused);
void copier_cancel(struct copier *copier);
/* Waits at most timeout_ms; *has_ended says whether it has. When it has: true = all chunks of the
 * map are flushed at the destination, false with the reason: ERROR_CANCELLED, ERROR_NO_SPACE (the
 * destination is full), ERROR_UNREACHABLE (a connection ended or answered with an error),
 * ERROR_INTERNAL (the source cannot be read). */
bool copier_join(struct copier *copier, int timeout_ms, bool *has_ended,
                 struct error *err) must_check;
void copier_free(struct copier *copier); /* cancels and joins first */
