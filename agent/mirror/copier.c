/* The copier as its owner sees it, and what its workers share. */
#include "agent/mirror/copier.h"

#include "agent/mirror/copier_worker.h"
#include "base/clock.h"
#include "base/memory.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <time.h>

enum { SAVE_EVERY_MS = 1000, LIMIT_CONNECTIONS = 16, LIMIT_QUEUE = 64 };

static uint64_t chunk_bytes_at(const struct copier *copier, uint64_t chunk)
{
    uint64_t left = copier->source.size_bytes - chunk * COPY_CHUNK_BYTES;
    return left < COPY_CHUNK_BYTES ? left : COPY_CHUNK_BYTES;
}

static bool look_at_window(struct copier *copier, uint64_t chunk, struct error *err)
{
    uint64_t window = chunk - chunk % COPIER_WINDOW_CHUNKS;
    if (window == copier->window)
        return true;
    uint64_t offset = window * COPY_CHUNK_BYTES;
    uint64_t size = (uint64_t)COPIER_WINDOW_CHUNKS * COPY_CHUNK_BYTES;
    if (size > copier->source.size_bytes - offset)
        size = copier->source.size_bytes - offset;
    memset(copier->window_zeroes, 0, sizeof copier->window_zeroes);
    if (!copy_reader_find_zeroes(&copier->holes, offset, size, copier->window_zeroes, err))
        return false;
    copier->window = window;
    return true;
}

static bool is_zero_chunk(const struct copier *copier, uint64_t chunk)
{
    uint64_t i = chunk - copier->window;
    return copier->window_zeroes[i / 8] >> (i % 8) & 1;
}

/* With the lock held. A hole that the fresh destination has anyhow is done without a write: there
 * is nothing to flush. */
static bool claim_locked(struct copier *copier, uint64_t *chunk, enum copier_claim *claim,
                         struct error *err)
{
    uint64_t count = chunk_map_count(copier->map);
    for (; copier->next_chunk < count; copier->next_chunk++) {
        uint64_t next = copier->next_chunk;
        if (atomic_load(&copier->is_stopping))
            return error_set(err, ERROR_CANCELLED, "the copy was stopped");
        if (chunk_map_is_done(copier->map, next))
            continue;
        if (!look_at_window(copier, next, err))
            return false;
        if (is_zero_chunk(copier, next) && copier->source.may_skip_holes) {
            chunk_map_set_done(copier->map, next);
            copier->copied_bytes += chunk_bytes_at(copier, next);
            copier->zero_bytes += chunk_bytes_at(copier, next);
            continue;
        }
        *chunk = next;
        *claim = is_zero_chunk(copier, next) ? CLAIM_ZERO : CLAIM_DATA;
        copier->next_chunk++;
        return true;
    }
    *claim = CLAIM_NONE;
    return true;
}

bool copier_claim(struct copier *copier, uint64_t *chunk, uint64_t *wanted,
                  enum copier_claim *claim, int *wait_ms, struct error *err)
{
    pthread_mutex_lock(&copier->lock);
    bool is_fine = true;
    *wait_ms = copier->is_paused ? COPIER_TICK_MS
                                 : rate_limit_wait_ms(&copier->limit, clock_monotonic_us());
    if (*wait_ms > 0)
        *claim = CLAIM_WAIT;
    else
        is_fine = claim_locked(copier, chunk, claim, err);
    if (is_fine && (*claim == CLAIM_DATA || *claim == CLAIM_ZERO))
        *wanted = chunk_map_wanted(copier->map, *chunk);
    pthread_mutex_unlock(&copier->lock);
    return is_fine;
}

void copier_spend(struct copier *copier, uint64_t bytes)
{
    pthread_mutex_lock(&copier->lock);
    rate_limit_spend(&copier->limit, bytes);
    pthread_mutex_unlock(&copier->lock);
}

void copier_count(struct copier *copier, uint64_t sent_bytes, uint64_t zero_bytes)
{
    pthread_mutex_lock(&copier->lock);
    copier->copied_bytes += sent_bytes + zero_bytes;
    copier->sent_bytes += sent_bytes;
    copier->zero_bytes += zero_bytes;
    rate_meter_update(&copier->meter, copier->copied_bytes, clock_monotonic_ms());
    pthread_mutex_unlock(&copier->lock);
}

bool copier_mark_done(struct copier *copier, const struct chunk_list *list, struct error *err)
{
    bool is_saved = true;
    pthread_mutex_lock(&copier->lock);
    for (size_t i = 0; i < list->count; i++)
        chunk_map_set_done(copier->map, list->items[i]);
    int64_t now_ms = clock_monotonic_ms();
    if (now_ms - copier->saved_at_ms >= SAVE_EVERY_MS) {
        is_saved = chunk_map_save(copier->map, err);
        copier->saved_at_ms = clock_monotonic_ms();
    }
    pthread_mutex_unlock(&copier->lock);
    return is_saved;
}

/* With the lock held. */
static void interrupt_workers(struct copier *copier)
{
    atomic_store(&copier->is_stopping, true);
    copy_reader_interrupt(&copier->holes);
    for (int i = 0; i < copier->options.connections; i++) {
        nbd_client_interrupt(&copier->workers[i].destination);
        copy_reader_interrupt(&copier->workers[i].reader);
    }
}

void copier_fail(struct copier *copier, const struct error *why)
{
    pthread_mutex_lock(&copier->lock);
    if (!copier->has_failed) {
        copier->has_failed = true;
        copier->failure = *why;
        interrupt_workers(copier);
    }
    pthread_mutex_unlock(&copier->lock);
}

void copier_cancel(struct copier *copier)
{
    struct error why;
    error_set(&why, ERROR_CANCELLED, "the copy was cancelled");
    /* `holes` is used under the lock: interrupt it first. Its socket lives as long as the copier.
     */
    atomic_store(&copier->is_stopping, true);
    copy_reader_interrupt(&copier->holes);
    copier_fail(copier, &why);
}

static void *run_worker(void *argument)
{
    struct copier_worker *worker = argument;
    struct copier *copier = worker->copier;
    copier_worker_run(worker);
    pthread_mutex_lock(&copier->lock);
    struct error err;
    if (copier->running == 1 && !chunk_map_save(copier->map, &err) && !copier->has_failed) {
        copier->has_failed = true;
        copier->failure = err;
    }
    copier->running--;
    pthread_cond_broadcast(&copier->has_changed);
    pthread_mutex_unlock(&copier->lock);
    return NULL;
}

static void init_shared(struct copier *copier, const struct copier_source *source,
                        struct chunk_map *map, const struct copier_options *options)
{
    pthread_mutex_init(&copier->lock, NULL);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&copier->has_changed, &attributes);
    pthread_condattr_destroy(&attributes);
    copier->source = *source;
    copier->source.path = copier->source_path = memory_copy_text(source->path);
    copier->options = *options;
    copier->options.export_name = copier->export_name = memory_copy_text(options->export_name);
    copier->map = map;
    copier->window = UINT64_MAX;
    copier->saved_at_ms = clock_monotonic_ms();
    rate_limit_set(&copier->limit, options->bandwidth_bytes_per_s, clock_monotonic_us());
    rate_meter_update(&copier->meter, 0, copier->saved_at_ms);
    copier->holes = COPY_READER_NONE;
    copier->workers = memory_array((size_t)options->connections, sizeof *copier->workers);
    for (int i = 0; i < options->connections; i++) {
        struct copier_worker *worker = &copier->workers[i];
        worker->copier = copier;
        worker->index = i;
        worker->destination = NBD_CLIENT_NONE;
        worker->reader = COPY_READER_NONE;
        worker->slot_count =
            (options->queue_depth + options->connections - 1) / options->connections;
    }
}

static void start_workers(struct copier *copier)
{
    copier->running = copier->options.connections;
    copier->has_threads = true;
    for (int i = 0; i < copier->options.connections; i++) {
        int failed =
            pthread_create(&copier->workers[i].thread, NULL, run_worker, &copier->workers[i]);
        /* As with memory: a process that cannot start a thread cannot do its work. */
        if (failed)
            abort();
    }
}

bool copier_start(struct copier **out, const struct copier_source *source, struct chunk_map *map,
                  const struct copier_options *options, struct error *err)
{
    assert(options->connections > 0 && options->connections <= LIMIT_CONNECTIONS);
    assert(options->queue_depth > 0 && options->queue_depth <= LIMIT_QUEUE);
    struct copier *copier = memory_alloc(sizeof *copier);
    init_shared(copier, source, map, options);
    if (!copy_reader_open(&copier->holes, &copier->source, true, err)) {
        copier_free(copier);
        return false;
    }
    start_workers(copier);
    *out = copier;
    return true;
}

void copier_numbers(struct copier *copier, struct copier_numbers *out)
{
    pthread_mutex_lock(&copier->lock);
    int64_t now_ms = clock_monotonic_ms();
    rate_meter_update(&copier->meter, copier->copied_bytes, now_ms);
    *out = (struct copier_numbers){
        .copied_bytes = copier->copied_bytes,
        .zero_bytes = copier->zero_bytes,
        .sent_bytes = copier->sent_bytes,
        .rate_bytes_per_s = rate_meter_bytes_per_s(&copier->meter, copier->copied_bytes, now_ms),
        .has_ended = copier->running == 0,
    };
    pthread_mutex_unlock(&copier->lock);
}

void copier_set_bandwidth(struct copier *copier, uint64_t bytes_per_s)
{
    pthread_mutex_lock(&copier->lock);
    rate_limit_set(&copier->limit, bytes_per_s, clock_monotonic_us());
    pthread_mutex_unlock(&copier->lock);
}

void copier_set_paused(struct copier *copier, bool is_paused)
{
    pthread_mutex_lock(&copier->lock);
    copier->is_paused = is_paused;
    pthread_mutex_unlock(&copier->lock);
}

static void join_threads(struct copier *copier)
{
    if (!copier->has_threads)
        return;
    for (int i = 0; i < copier->options.connections; i++) {
        pthread_join(copier->workers[i].thread, NULL);
    }
    copier->has_threads = false;
}

static bool wait_until_ended(struct copier *copier, int timeout_ms)
{
    struct timespec deadline;
    clock_gettime(CLOCK_MONOTONIC, &deadline);
    int64_t nanoseconds = deadline.tv_nsec + (int64_t)(timeout_ms % 1000) * 1000000;
    deadline.tv_sec += timeout_ms / 1000 + (time_t)(nanoseconds / 1000000000);
    deadline.tv_nsec = (long)(nanoseconds % 1000000000);
    pthread_mutex_lock(&copier->lock);
    while (copier->running > 0 &&
           pthread_cond_timedwait(&copier->has_changed, &copier->lock, &deadline) != ETIMEDOUT)
        ;
    bool has_ended = copier->running == 0;
    pthread_mutex_unlock(&copier->lock);
    return has_ended;
}

bool copier_join(struct copier *copier, int timeout_ms, bool *has_ended, struct error *err)
{
    *has_ended = wait_until_ended(copier, timeout_ms);
    if (!*has_ended)
        return true;
    join_threads(copier);
    if (copier->has_failed) {
        *err = copier->failure;
        return false;
    }
    return true;
}

void copier_free(struct copier *copier)
{
    if (!copier)
        return;
    copier_cancel(copier);
    join_threads(copier);
    copy_reader_close(&copier->holes);
    pthread_mutex_destroy(&copier->lock);
    pthread_cond_destroy(&copier->has_changed);
    free(copier->workers);
    free(copier->source_path);
    free(copier->export_name);
    free(copier);
}
