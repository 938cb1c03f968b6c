/* The source's stream from the connection to PREPARED. In the pause, in this order and no more:
 * drain the mirrors; FLUSH, whose flush at the destination overlaps the last memory pass; the tail
 * once FLUSHED came; PREPARED. */
#include "agent/handoff/source_state.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/failpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

enum {
    CONNECT_LIMIT_MS = 15000, /* both ends get their step at the same time; one is later */
    CONNECT_TRY_MS = 8000,
    CONNECT_INTERVAL_MS = 200,
    PIPE_BYTES = 1 << 20,
};

static bool is_cancelled(struct handoff_source *source)
{
    pthread_mutex_lock(&source->mutex);
    bool is_told = source->is_cancelled;
    pthread_mutex_unlock(&source->mutex);
    return is_told;
}

/* Is there still a reason to connect? */
static bool is_wanted(struct handoff_source *source, struct error *err)
{
    pthread_mutex_lock(&source->mutex);
    bool is_told = source->is_cancelled, is_deserted = source->is_deserted;
    pthread_mutex_unlock(&source->mutex);
    if (is_told)
        return error_set(err, ERROR_CANCELLED, "the handoff was cancelled");
    return !is_deserted ||
           error_set(err, ERROR_UNREACHABLE, "the destination abandoned the handoff");
}

/* -- the connection; the guest runs and nobody waits */

static bool connect_once(struct handoff_source *source, struct link_stream **stream,
                         struct error *err)
{
    const struct spec_host *peer = &source->spec->destination;
    struct link_hello hello = {.channel = LINK_MEMORY, .epoch = source->epoch};
    memcpy(hello.migration, source->spec->migration, sizeof hello.migration);
    return link_connect(stream, peer->id, peer->address, peer->port, source->environment.files,
                        &hello, CONNECT_TRY_MS, err);
}

static bool connect_stream(struct handoff_source *source, struct error *err)
{
    int64_t deadline = clock_monotonic_ms() + CONNECT_LIMIT_MS;
    struct link_stream *stream = NULL;
    while (!connect_once(source, &stream, err)) {
        bool may_help = err->code == ERROR_UNREACHABLE || err->code == ERROR_TIMEOUT ||
                        err->code == ERROR_NOT_FOUND;
        if (!may_help || clock_monotonic_ms() >= deadline)
            return error_prefix(err, "memory stream");
        if (!is_wanted(source, err))
            return false;
        clock_sleep_ms(CONNECT_INTERVAL_MS);
    }
    struct outgoing *outgoing = outgoing_start(stream);
    pthread_mutex_lock(&source->mutex);
    source->outgoing = outgoing;
    pthread_mutex_unlock(&source->mutex);
    return is_wanted(source, err); /* what came before this is seen here, later it fails outgoing */
}

void source_close_stream(struct handoff_source *source)
{
    pthread_mutex_lock(&source->mutex);
    struct outgoing *outgoing = take(source->outgoing);
    pthread_mutex_unlock(&source->mutex);
    outgoing_stop(outgoing);
}

static bool send_config(struct handoff_source *source, struct error *err)
{
    auto_free char *config = NULL;
    if (!source->environment.driver->config(source->environment.hypervisor, source->spec->domain,
                                            &config, err))
        return error_prefix(err, "configuration of the domain");
    size_t size = strlen(config);
    if (size < 2 || size > FRAME_CONFIG_LIMIT)
        return error_set(err, ERROR_INVALID, "configuration of the domain: %zu bytes, at most %d",
                         size, FRAME_CONFIG_LIMIT);
    return outgoing_send(source->outgoing, FRAME_CONFIG, config, size, err);
}

/* -- hooks of save */

/* CHECK_DRAIN_BEFORE_RELEASE: without it some acknowledged write may be on no disk of the
 * destination. FLUSHED is not waited for here, so that the flush overlaps the last memory pass. */
static bool on_suspended(void *context, struct error *err)
{
    struct handoff_source *source = context;
    source->suspended_at_us = clock_monotonic_us();
    outgoing_suspended(source->outgoing);
    source_set_phase(source, PHASE_PAUSED);
    return failpoint("handoff.suspended", err) &&
           (!source->transfer ||
            transfer_drain(source->transfer, source->environment.drain_limit_ms, err)) &&
           failpoint("handoff.drained", err) &&
           outgoing_send(source->outgoing, FRAME_FLUSH, NULL, 0, err);
}

static void on_progress(void *context, const struct memory_progress *progress)
{
    struct handoff_source *source = context;
    pthread_mutex_lock(&source->mutex);
    source->memory = *progress;
    pthread_mutex_unlock(&source->mutex);
}

static bool must_end(void *context)
{
    struct handoff_source *source = context;
    return is_cancelled(source) || outgoing_has_failed(source->outgoing);
}

static bool save(struct handoff_source *source, bool *is_suspended, struct error *err)
{
    const struct save_hooks hooks = {.context = source,
                                     .on_suspended = on_suspended,
                                     .on_progress = on_progress,
                                     .is_cancelled = must_end};
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) < 0)
        return error_set_errno(err, ERROR_INTERNAL, errno, "a pipe for the domain's stream");
    fcntl(fds[1], F_SETPIPE_SZ, PIPE_BYTES); /* larger is only faster */
    outgoing_pump(source->outgoing, fds[0]);
    bool is_saved = source->environment.driver->save(
                        source->environment.hypervisor, source->spec->domain,
                        source->spec->mode == MODE_LIVE, fds[1], &hooks, is_suspended, err) ||
                    error_prefix(err, "saving the domain");
    close(fds[1]);
    *is_suspended = *is_suspended || is_saved;
    return is_saved || outgoing_failure(source->outgoing, err);
}

static bool check_disks(const struct handoff_source *source, struct error *err)
{
    if (source->transfer || source->spec->disks.count == 0)
        return true;
    return error_set(err, ERROR_MIRROR_LOST, "the disks are not mirrored");
}

bool source_stream(struct handoff_source *source, bool *is_suspended, struct error *err)
{
    const struct handoff_environment *environment = &source->environment;
    const struct guest guest = source_guest(source);
    *is_suspended = false;
    if (!check_disks(source, err) || !connect_stream(source, err) || !send_config(source, err) ||
        !failpoint("handoff.config-sent", err))
        return false;
    source_set_phase(source, PHASE_MEMORY);
    /* Not a guest that has rebooted into another domain, whose writes no mirror saw. One that does
     * so from here on fails the drain, or has no disks.
     * CHECK_FLUSHED_BEFORE_TAIL: with the tail the destination's domain opens the disks. */
    return guest_run_check(&guest, err) && save(source, is_suspended, err) &&
           outgoing_wait(source->outgoing, FRAME_FLUSHED, environment->drain_limit_ms, err) &&
           outgoing_wait_pumped(source->outgoing, environment->restore_limit_ms, err) &&
           outgoing_release_tail(source->outgoing, err) &&
           outgoing_wait(source->outgoing, FRAME_PREPARED, environment->restore_limit_ms, err) &&
           failpoint("handoff.prepared-received", err);
}
