/* One worker of the copier. Its life: connect, then round after round fill free slots with chunks,
 * write what was read, flush now and then, wait for the sockets; the last flush ends it. */
#include "agent/mirror/copier_worker.h"

#include "base/clock.h"
#include "base/memory.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

enum {
    BLOCK_BYTES = COPY_CHUNK_BYTES / CHUNK_MAP_BLOCKS,
    SPARSE_BLOCKS = 8, /* zeroes inside a chunk are left out in units of so many blocks */
    SOCKET_BUFFER_BYTES = 1 << 20,
};

static bool is_zero(const char *data, size_t size)
{
    return data[0] == 0 && memcmp(data, data + 1, size - 1) == 0;
}

static uint32_t chunk_size_at(const struct copier *copier, uint64_t offset)
{
    uint64_t left = copier->source.size_bytes - offset;
    return left < COPY_CHUNK_BYTES ? (uint32_t)left : COPY_CHUNK_BYTES;
}

/* A socket buffer of several requests saves wake-ups; without the permission the default serves. */
static void widen_socket(int fd)
{
    int size = SOCKET_BUFFER_BYTES;
    if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size) != 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
}

static bool check_destination(struct copier_worker *worker, struct error *err)
{
    struct nbd_handle *handle = worker->destination.handle;
    int64_t size = nbd_get_size(handle);
    if (size < 0 || (uint64_t)size != worker->copier->source.size_bytes)
        return error_set(err, ERROR_INVALID, "the destination disk has %lld bytes, expected %llu",
                         (long long)size, (unsigned long long)worker->copier->source.size_bytes);
    if (nbd_is_read_only(handle) != 0)
        return error_set(err, ERROR_INVALID, "the destination disk is read-only");
    if (nbd_can_flush(handle) != 1)
        return error_set(err, ERROR_UNSUPPORTED, "the destination disk cannot be flushed");
    worker->can_zero = nbd_can_zero(handle) == 1;
    return true;
}

/* Publishes the handles under the lock, so that a cancellation finds them. */
static bool connect_destination(struct copier_worker *worker, struct error *err)
{
    struct copier *copier = worker->copier;
    int fd = -1;
    if (!copier->options.connect(copier->options.context, worker->index, &fd, err))
        return false;
    widen_socket(fd);
    pthread_mutex_lock(&copier->lock);
    bool is_attached = nbd_client_attach(&worker->destination, fd, err);
    pthread_mutex_unlock(&copier->lock);
    if (!is_attached)
        return false;
    if (atomic_load(&copier->is_stopping))
        return error_set(err, ERROR_CANCELLED, "the copy was stopped");
    if (!nbd_client_handshake(&worker->destination, copier->options.export_name, NULL, err))
        return error_prefix(err, "destination disk");
    return check_destination(worker, err);
}

static bool open_reader(struct copier_worker *worker, struct error *err)
{
    struct copy_reader reader;
    if (!copy_reader_open(&reader, &worker->copier->source, false, err))
        return false;
    pthread_mutex_lock(&worker->copier->lock);
    worker->reader = reader;
    pthread_mutex_unlock(&worker->copier->lock);
    return true;
}

static void make_slots(struct copier_worker *worker)
{
    worker->slots = memory_array((size_t)worker->slot_count, sizeof *worker->slots);
    for (int i = 0; i < worker->slot_count; i++) {
        char *data = aligned_alloc(4096, COPY_CHUNK_BYTES);
        if (!data)
            abort();
        worker->slots[i] = (struct copier_slot){.worker = worker, .data = data};
    }
}

static void release(struct copier_worker *worker)
{
    struct copier *copier = worker->copier;
    /* No completion may run after its slot is gone: the handles go first. */
    pthread_mutex_lock(&copier->lock);
    nbd_client_close(&worker->destination);
    copy_reader_close(&worker->reader);
    pthread_mutex_unlock(&copier->lock);
    for (int i = 0; worker->slots && i < worker->slot_count; i++)
        free(worker->slots[i].data);
    free(worker->slots);
    worker->slots = NULL;
}

static void note_failure(struct copier_worker *worker, const char *what, bool is_source, int number)
{
    if (worker->failed_what)
        return;
    worker->failed_what = what;
    worker->is_source_failure = is_source;
    worker->failed_errno = number ? number : EIO;
}

static int on_read(void *user_data, int *error)
{
    struct copier_slot *slot = user_data;
    slot->pending--;
    slot->state = SLOT_READ;
    if (*error)
        note_failure(slot->worker, "read the source disk", true, *error);
    return 1;
}

static int on_written(void *user_data, int *error)
{
    struct copier_slot *slot = user_data;
    slot->pending--;
    if (*error)
        note_failure(slot->worker, "write the destination disk", false, *error);
    return 1;
}

static int on_flushed(void *user_data, int *error)
{
    struct copier_worker *worker = user_data;
    worker->is_flushing = false;
    if (*error)
        note_failure(worker, "flush the destination disk", false, *error);
    return 1;
}

/* A source that cannot be read stays so; a reader that went away can be opened again. */
static bool command_error(const struct copier_worker *worker, struct error *err)
{
    bool is_fatal = worker->is_source_failure && !nbd_aio_is_dead(worker->reader.nbd.handle) &&
                    !nbd_aio_is_closed(worker->reader.nbd.handle);
    return error_set_errno(err, is_fatal ? ERROR_INTERNAL : ERROR_UNREACHABLE, worker->failed_errno,
                           "%s", worker->failed_what);
}

static bool write_run(struct copier_slot *slot, uint32_t start, uint32_t size, struct error *err)
{
    struct copier_worker *worker = slot->worker;
    struct nbd_handle *handle = worker->destination.handle;
    nbd_completion_callback done = {.callback = on_written, .user_data = slot};
    bool is_zeroes = worker->can_zero && is_zero(slot->data + start, size);
    int64_t cookie =
        is_zeroes ? nbd_aio_zero(handle, size, slot->offset + start, done, 0)
                  : nbd_aio_pwrite(handle, slot->data + start, size, slot->offset + start, done, 0);
    if (cookie < 0)
        return nbd_client_error(err, "write the destination disk");
    slot->pending++;
    return true;
}

static uint32_t wanted_bytes(const struct copier_slot *slot)
{
    uint32_t bytes = 0;
    for (uint32_t block = 0; block * BLOCK_BYTES < slot->size; block++) {
        uint32_t left = slot->size - block * BLOCK_BYTES;
        if (slot->wanted >> block & 1)
            bytes += left < BLOCK_BYTES ? left : BLOCK_BYTES;
    }
    return bytes;
}

/* On a fresh destination zeroes need no write: takes them out of what is wanted. */
static void drop_zeroes(struct copier_slot *slot)
{
    enum { UNIT = SPARSE_BLOCKS * BLOCK_BYTES };
    for (uint32_t start = 0; start < slot->size; start += UNIT) {
        uint32_t left = slot->size - start;
        if (is_zero(slot->data + start, left < UNIT ? left : UNIT))
            slot->wanted &= ~(UINT64_C(0xff) << start / BLOCK_BYTES);
    }
}

/* Writes the runs of wanted blocks of a chunk that was read. */
static bool write_chunk(struct copier_slot *slot, struct error *err)
{
    struct copier *copier = slot->worker->copier;
    uint32_t before = wanted_bytes(slot);
    if (copier->source.may_skip_holes)
        drop_zeroes(slot);
    uint32_t sent = wanted_bytes(slot), blocks = (slot->size + BLOCK_BYTES - 1) / BLOCK_BYTES;
    copier_spend(copier, sent);
    slot->state = SLOT_WRITING;
    for (uint32_t block = 0; block < blocks;) {
        if (!(slot->wanted >> block & 1)) {
            block++;
            continue;
        }
        uint32_t start = block * BLOCK_BYTES;
        while (block < blocks && slot->wanted >> block & 1)
            block++;
        uint32_t end = block * BLOCK_BYTES;
        if (!write_run(slot, start, (end < slot->size ? end : slot->size) - start, err))
            return false;
    }
    copier_count(copier, sent, before - sent);
    return true;
}

static bool write_zero_chunk(struct copier_slot *slot, struct error *err)
{
    slot->state = SLOT_WRITING;
    if (!slot->worker->can_zero)
        memset(slot->data, 0, slot->size);
    nbd_completion_callback done = {.callback = on_written, .user_data = slot};
    struct nbd_handle *handle = slot->worker->destination.handle;
    int64_t cookie = slot->worker->can_zero
                         ? nbd_aio_zero(handle, slot->size, slot->offset, done, 0)
                         : nbd_aio_pwrite(handle, slot->data, slot->size, slot->offset, done, 0);
    if (cookie < 0)
        return nbd_client_error(err, "write zeroes to the destination disk");
    slot->pending++;
    copier_count(slot->worker->copier, 0, wanted_bytes(slot));
    return true;
}

static bool start_read(struct copier_slot *slot, struct error *err)
{
    struct copy_reader *reader = &slot->worker->reader;
    if (reader->file >= 0) {
        slot->state = SLOT_READ;
        return copy_reader_read(reader, slot->data, slot->offset, slot->size, err);
    }
    nbd_completion_callback done = {.callback = on_read, .user_data = slot};
    slot->state = SLOT_READING;
    if (nbd_aio_pread(reader->nbd.handle, slot->data, slot->size, slot->offset, done, 0) < 0)
        return nbd_client_error(err, "read the source disk");
    slot->pending++;
    return true;
}

/* Puts the next chunk into a free slot. *has_more = false: nothing to claim now. */
static bool fill_slot(struct copier_worker *worker, struct copier_slot *slot, int *wait_ms,
                      bool *has_more, struct error *err)
{
    enum copier_claim claim;
    if (!copier_claim(worker->copier, &slot->chunk, &slot->wanted, &claim, wait_ms, err))
        return false;
    worker->has_claimed_all = claim == CLAIM_NONE;
    *has_more = claim == CLAIM_DATA || claim == CLAIM_ZERO;
    if (!*has_more)
        return true;
    slot->offset = slot->chunk * COPY_CHUNK_BYTES;
    slot->size = chunk_size_at(worker->copier, slot->offset);
    slot->pending = 0;
    worker->busy_count++;
    return claim == CLAIM_ZERO ? write_zero_chunk(slot, err) : start_read(slot, err);
}

/* Slots whose writes are all acknowledged wait for the next flush and are free again. */
static void retire_slot(struct copier_worker *worker, struct copier_slot *slot)
{
    worker->written.items[worker->written.count++] = slot->chunk;
    slot->state = SLOT_FREE;
    worker->busy_count--;
}

static bool has_room_for_written(const struct copier_worker *worker)
{
    return worker->written.count + (size_t)worker->busy_count < COPIER_UNFLUSHED_CHUNKS;
}

static bool advance_slots(struct copier_worker *worker, int *wait_ms, struct error *err)
{
    bool has_more = !worker->has_claimed_all;
    for (int i = 0; i < worker->slot_count; i++) {
        struct copier_slot *slot = &worker->slots[i];
        if (slot->state == SLOT_WRITING && slot->pending == 0 && !worker->failed_what)
            retire_slot(worker, slot);
        if (slot->state == SLOT_FREE && has_more && has_room_for_written(worker) &&
            !fill_slot(worker, slot, wait_ms, &has_more, err))
            return false;
        if (slot->state == SLOT_READ && !worker->failed_what && !write_chunk(slot, err))
            return false;
    }
    return true;
}

/* The chunks of a flush that returned are done. Then the next one, when it is time. */
static bool advance_flush(struct copier_worker *worker, struct error *err)
{
    if (worker->is_flushing || worker->failed_what)
        return true;
    int64_t now_ms = clock_monotonic_ms();
    if (worker->flushing.count > 0) {
        if (!copier_mark_done(worker->copier, &worker->flushing, err))
            return false;
        worker->flushing.count = 0;
        worker->flushed_at_ms = now_ms;
    }
    bool is_last = worker->has_claimed_all && worker->busy_count == 0;
    bool is_due = worker->written.count >= COPIER_UNFLUSHED_CHUNKS / 2 || is_last ||
                  now_ms - worker->flushed_at_ms >= COPIER_FLUSH_MS;
    if (worker->written.count == 0 || !is_due)
        return true;
    worker->flushing = worker->written;
    worker->written.count = 0;
    worker->is_flushing = true;
    nbd_completion_callback done = {.callback = on_flushed, .user_data = worker};
    if (nbd_aio_flush(worker->destination.handle, done, 0) < 0)
        return nbd_client_error(err, "flush the destination disk");
    return true;
}

static bool wait_for_sockets(struct copier_worker *worker, int timeout_ms, struct error *err)
{
    struct pollfd fds[2];
    nfds_t count = 1;
    nbd_client_poll_fd(&worker->destination, &fds[0]);
    if (worker->reader.nbd.handle)
        nbd_client_poll_fd(&worker->reader.nbd, &fds[count++]);
    if (poll(fds, count, timeout_ms) < 0 && errno != EINTR)
        return error_set_errno(err, ERROR_INTERNAL, errno, "poll");
    if (!nbd_client_step(&worker->destination, &fds[0], err))
        return error_prefix(err, "destination disk");
    if (count == 2 && !nbd_client_step(&worker->reader.nbd, &fds[1], err))
        return error_prefix(err, "reader of the source disk");
    return true;
}

/* 0 while there is something to do without an answer of a socket. */
static int wait_limit_ms(const struct copier_worker *worker, int rate_wait_ms)
{
    for (int i = 0; i < worker->slot_count; i++) {
        const struct copier_slot *slot = &worker->slots[i];
        if (slot->state == SLOT_WRITING && slot->pending == 0)
            return 0;
        if (slot->state == SLOT_FREE && !worker->has_claimed_all && rate_wait_ms == 0 &&
            has_room_for_written(worker))
            return 0;
    }
    return rate_wait_ms > 0 && rate_wait_ms < COPIER_TICK_MS ? rate_wait_ms : COPIER_TICK_MS;
}

static bool has_ended(const struct copier_worker *worker)
{
    return worker->has_claimed_all && worker->busy_count == 0 && !worker->is_flushing &&
           worker->written.count == 0 && worker->flushing.count == 0;
}

static bool copy_rounds(struct copier_worker *worker, struct error *err)
{
    while (!has_ended(worker)) {
        int wait_ms = 0;
        if (atomic_load(&worker->copier->is_stopping))
            return error_set(err, ERROR_CANCELLED, "the copy was stopped");
        if (!advance_slots(worker, &wait_ms, err) || !advance_flush(worker, err))
            return false;
        if (has_ended(worker))
            break;
        bool is_open = wait_for_sockets(worker, wait_limit_ms(worker, wait_ms), err);
        if (worker->failed_what)
            return command_error(worker, err);
        if (!is_open)
            return false;
    }
    return true;
}

void copier_worker_run(struct copier_worker *worker)
{
    struct error err;
    make_slots(worker);
    worker->flushed_at_ms = clock_monotonic_ms();
    if (!connect_destination(worker, &err) || !open_reader(worker, &err) ||
        !copy_rounds(worker, &err))
        copier_fail(worker->copier, &err);
    release(worker);
}
