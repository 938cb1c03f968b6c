/* The destination's end of one memory stream. The thread of the stream reads it; the restore and
 * the flush of the disks run beside it, so that the flush costs no time of its own in the pause. */
#include "agent/handoff/destination_state.h"

#include "agent/handoff/record.h"
#include "agent/handoff/sync.h"
#include "base/cleanup.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

enum {
    ANSWER_LIMIT_MS = 5000,   /* to write an answer */
    FAREWELL_LIMIT_MS = 5000, /* for the source to read the last answer and to close */
    PIPE_BYTES = 1 << 20,
};

struct incoming {
    struct handoff_destination *destination;
    struct link_stream *stream;
    unsigned char *buffer; /* FRAME_CONFIG_LIMIT + 1 bytes */

    char *config; /* the restore's, from here to pipe_out */
    struct restore_disk *disks;
    struct restore_vif *vifs;
    struct restore_map map;
    pthread_t restore;
    bool has_restore, is_restored;
    int pipe_in, pipe_out; /* we write pipe_in, the restore reads pipe_out */

    pthread_t flush;
    bool has_flush, is_flushed;
};

bool incoming_say(struct handoff_destination *destination, enum frame_type type,
                  const void *payload, size_t size, struct error *err)
{
    pthread_mutex_lock(&destination->write_mutex);
    struct link_stream *stream = destination->stream;
    bool is_said = stream && frame_write(stream, type, payload, size, ANSWER_LIMIT_MS, err);
    pthread_mutex_unlock(&destination->write_mutex);
    return is_said || (!stream && error_set(err, ERROR_UNREACHABLE, "the stream has ended"));
}

/* -- where the domain's disks and networks are here */

static bool map_disk(const struct handoff_environment *environment, const struct spec_disk *disk,
                     struct restore_disk *out, struct error *err)
{
    memcpy(out->device, disk->device, sizeof out->device);
    return sr_set_locate(environment->srs, disk->destination.sr, disk->destination.vdi, out->path,
                         &out->format, err) ||
           error_prefix(err, "disk %s", disk->device);
}

static bool map_vif(const struct handoff_environment *environment, const struct spec_vif *vif,
                    struct restore_vif *out, struct error *err)
{
    memcpy(out->mac, vif->mac, sizeof out->mac);
    if (environment->bridge_of(environment->context, vif->destination_network, out->bridge))
        return true;
    return error_set(err, ERROR_NOT_FOUND, "VIF %s: this host has no network %s", vif->mac,
                     vif->destination_network);
}

static bool build_map(struct incoming *incoming, struct error *err)
{
    const struct handoff_destination *destination = incoming->destination;
    const struct migration_spec *spec = destination->spec;
    incoming->disks = memory_array(spec->disks.count, sizeof *incoming->disks);
    incoming->vifs = memory_array(spec->vifs.count, sizeof *incoming->vifs);
    incoming->map = (struct restore_map){.disk_count = spec->disks.count,
                                         .disks = incoming->disks,
                                         .vif_count = spec->vifs.count,
                                         .vifs = incoming->vifs};
    for (size_t i = 0; i < spec->disks.count; i++)
        if (!map_disk(&destination->environment, spec_disk_at(spec, i), &incoming->disks[i], err))
            return false;
    for (size_t i = 0; i < spec->vifs.count; i++)
        if (!map_vif(&destination->environment, spec_vif_at(spec, i), &incoming->vifs[i], err))
            return false;
    return true;
}

/* -- the restore's thread */

static void *run_restore(void *context)
{
    struct incoming *incoming = context;
    struct handoff_destination *destination = incoming->destination;
    const struct handoff_environment *environment = &destination->environment;
    struct error err;
    log_context_migration(destination->spec->migration);
    log_context_trace(destination->spec->traceparent);
    incoming->is_restored =
        environment->driver->restore(environment->hypervisor, destination->spec->domain,
                                     incoming->config, &incoming->map, incoming->pipe_out, &err);
    if (!incoming->is_restored) {
        error_prefix(&err, "restoring the domain");
        destination_fail(destination, &err); /* before the feeder learns that the pipe is closed */
    }
    close(incoming->pipe_out); /* whoever still writes to it must not wait */
    return NULL;
}

/* CHECK_LEDGER_BEFORE_BUILD. */
static bool start_restore(struct incoming *incoming, struct error *err)
{
    struct handoff_destination *destination = incoming->destination;
    int fds[2];
    if (!build_map(incoming, err) ||
        !built_begin(&destination->environment, destination->spec, err))
        return false;
    if (pipe2(fds, O_CLOEXEC) < 0)
        return error_set_errno(err, ERROR_INTERNAL, errno, "a pipe for the domain's stream");
    fcntl(fds[1], F_SETPIPE_SZ, PIPE_BYTES); /* larger is only faster */
    incoming->pipe_out = fds[0];
    incoming->pipe_in = fds[1];
    incoming->has_restore = true;
    sync_start_thread(&incoming->restore, run_restore, incoming);
    return true;
}

static void join_restore(struct incoming *incoming)
{
    if (incoming->pipe_in >= 0)
        close(take_fd(&incoming->pipe_in));
    if (incoming->has_restore)
        pthread_join(incoming->restore, NULL);
    incoming->has_restore = false;
}

/* -- the flush's thread */

static bool flush(struct incoming *incoming, struct error *err)
{
    const struct handoff_destination *destination = incoming->destination;
    const struct migration_spec *spec = destination->spec;
    return (spec->disks.count == 0 ||
            receiver_flush_and_close(destination->environment.receivers, spec->migration, err)) &&
           failpoint("handoff.destination-flushed", err);
}

static void *run_flush(void *context)
{
    struct incoming *incoming = context;
    struct error err;
    log_context_migration(incoming->destination->spec->migration);
    log_context_trace(incoming->destination->spec->traceparent);
    incoming->is_flushed =
        flush(incoming, &err) && incoming_say(incoming->destination, FRAME_FLUSHED, NULL, 0, &err);
    if (!incoming->is_flushed) {
        error_prefix(&err, "flushing the disks");
        destination_fail(incoming->destination, &err);
    }
    return NULL;
}

static void join_flush(struct incoming *incoming)
{
    if (incoming->has_flush)
        pthread_join(incoming->flush, NULL);
    incoming->has_flush = false;
}

/* -- frames */

static bool write_pipe(int fd, const unsigned char *data, size_t size, struct error *err)
{
    while (size > 0) {
        ssize_t done = write(fd, data, size);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return error_set_errno(err, ERROR_INTERNAL, errno, "feeding the restore");
        data += done;
        size -= (size_t)done;
    }
    return true;
}

static bool unexpected(const struct frame *frame, struct error *err)
{
    return error_set(err, ERROR_INVALID, "%s frame out of order", frame_type_name(frame->type));
}

static bool take_config(struct incoming *incoming, const struct frame *frame, struct error *err)
{
    if (incoming->config)
        return unexpected(frame, err);
    incoming->buffer[frame->size] = '\0';
    incoming->config = memory_copy_text((const char *)incoming->buffer);
    return start_restore(incoming, err);
}

static bool take_flush(struct incoming *incoming, const struct frame *frame, struct error *err)
{
    if (incoming->has_flush || !incoming->config)
        return unexpected(frame, err);
    incoming->has_flush = true;
    sync_start_thread(&incoming->flush, run_flush, incoming);
    return true;
}

/* The whole stream has come. PREPARED is made durable while the restore finishes, not after it: no
 * rule needs it on the disk when it is said, but a journal that cannot be written must show now,
 * while the source can still resume, and not when OWNED is due. */
static bool take_end(struct incoming *incoming, const struct frame *frame, struct error *err)
{
    struct handoff_destination *destination = incoming->destination;
    if (incoming->pipe_in < 0)
        return unexpected(frame, err);
    /* CHECK_FLUSHED_BEFORE_TAIL: the source waited for FLUSHED, so this does not wait. */
    join_flush(incoming);
    if (!incoming->is_flushed)
        return unexpected(frame, err);
    close(take_fd(&incoming->pipe_in));
    destination_advance(destination, RECEIVE_ENDED);
    bool is_recorded = record_put(&destination->environment, destination->spec, ROLE_DESTINATION,
                                  destination->epoch, HANDOFF_PREPARED, err);
    join_restore(incoming);
    if (!is_recorded)
        return false;
    if (!incoming->is_restored)
        return error_set(err, ERROR_INTERNAL, "the domain was not restored");
    if (!failpoint("handoff.destination-prepared", err))
        return false;
    destination_advance(destination, RECEIVE_PREPARED);
    return incoming_say(destination, FRAME_PREPARED, NULL, 0, err);
}

static bool take_go(struct incoming *incoming, struct error *err)
{
    return destination_go(incoming->destination, err) &&
           incoming_say(incoming->destination, FRAME_RUNNING, NULL, 0, err);
}

static bool take_data(struct incoming *incoming, const struct frame *frame, struct error *err)
{
    if (incoming->pipe_in < 0)
        return unexpected(frame, err);
    return write_pipe(incoming->pipe_in, incoming->buffer, frame->size, err);
}

static bool take_frame(struct incoming *incoming, const struct frame *frame, struct error *err)
{
    switch (frame->type) {
    case FRAME_CONFIG:
        return take_config(incoming, frame, err);
    case FRAME_DATA:
        return take_data(incoming, frame, err);
    case FRAME_FLUSH:
        return take_flush(incoming, frame, err);
    case FRAME_END:
        return take_end(incoming, frame, err);
    case FRAME_GO:
        return take_go(incoming, err);
    default:
        return unexpected(frame, err);
    }
}

static bool take_next(struct incoming *incoming, struct error *err)
{
    struct frame frame;
    if (!frame_read(incoming->stream, -1, &frame, err) ||
        !link_read_all(incoming->stream, incoming->buffer, frame.size, -1, err))
        return error_prefix(err, "memory stream");
    if (!take_frame(incoming, &frame, err))
        return false;
    destination_advance(incoming->destination, RECEIVE_STREAM);
    return true;
}

/* The source closes the stream when it has read the last answer; a reset would lose it. */
static void wait_for_close(struct incoming *incoming)
{
    struct error ignored;
    size_t got = 1;
    while (got > 0 && link_read(incoming->stream, incoming->buffer, FRAME_CONFIG_LIMIT,
                                FAREWELL_LIMIT_MS, &got, &ignored))
        ;
}

void incoming_serve(struct handoff_destination *destination, struct link_stream *stream)
{
    struct incoming incoming = {
        .destination = destination, .stream = stream, .pipe_in = -1, .pipe_out = -1};
    struct error err;
    sigset_t pipe_signal;
    sigset_t old_signals;
    sigemptyset(&pipe_signal);
    sigaddset(&pipe_signal, SIGPIPE); /* a restore that ended early is an error, not a signal */
    pthread_sigmask(SIG_BLOCK, &pipe_signal, &old_signals);
    incoming.buffer = memory_alloc(FRAME_CONFIG_LIMIT + 1);
    while (take_next(&incoming, &err))
        ;
    destination_fail(destination, &err); /* without effect when the verdict is OWNED */
    join_restore(&incoming);
    wait_for_close(&incoming);
    join_flush(&incoming);
    pthread_sigmask(SIG_SETMASK, &old_signals, NULL);
    free(incoming.buffer);
    free(incoming.config);
    free(incoming.disks);
    free(incoming.vifs);
}
