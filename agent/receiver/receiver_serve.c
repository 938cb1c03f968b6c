/* Streams of received disks: who is admitted, and the splice to the receiver. */
#include "agent/receiver/receiver_state.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"

#include <inttypes.h>
#include <string.h>

enum {
    ADMIT_LIMIT_MS = 30000,       /* for another stream of the disk that is being admitted */
    OLD_STREAMS_LIMIT_MS = 10000, /* for streams of older epochs, once they were told to end */
    MUST_END_CHECK_MS = 100
};

/* A stream on its way in, with what it holds. */
struct serving {
    struct receiver_set *set;
    const struct link_hello *hello;
    struct received_migration *migration; /* counted in its users */
    struct received_disk *disk;
    struct received_stream stream;
};

/* With the mutex held. */
static bool find_disk(struct serving *s, const char *peer_host, struct error *err)
{
    const struct link_hello *hello = s->hello;
    struct received_migration *migration = receiver_find(s->set, hello->migration);
    if (!migration)
        return error_set(err, ERROR_NOT_FOUND, "migration %s is not received here",
                         hello->migration);
    if (strcmp(peer_host, migration->source) != 0)
        return error_set(err, ERROR_REFUSED, "host %s is not the source of migration %s", peer_host,
                         hello->migration);
    if (hello->disk < 0 || (size_t)hello->disk >= migration->disk_count)
        return error_set(err, ERROR_INVALID, "disk %d: the migration has disks 0 to %zd",
                         hello->disk, (ssize_t)migration->disk_count - 1);
    if (hello->epoch < 1)
        return error_set(err, ERROR_INVALID, "mirror epoch %" PRId64 ": expected 1 or more",
                         hello->epoch);
    migration->users++;
    s->migration = migration;
    s->disk = &migration->disks[hello->disk];
    return true;
}

static bool check_open(const struct serving *s, struct error *err)
{
    return !s->migration->is_closed ||
           error_set(err, ERROR_CONFLICT, "the disks of migration %s are closed for its handoff",
                     s->migration->id);
}

/* With the mutex held: waits while another stream of the disk is being admitted. */
static bool wait_for_turn(struct serving *s, struct error *err)
{
    int64_t until = clock_monotonic_ms() + ADMIT_LIMIT_MS;
    while (s->disk->is_admitting && !s->migration->is_closed) {
        if (!receiver_wait(s->set, until))
            return error_set(err, ERROR_TIMEOUT, "the receiver of disk %d does not get ready",
                             s->hello->disk);
    }
    return check_open(s, err);
}

static void enlist(struct serving *s)
{
    s->stream.next = s->disk->streams;
    s->disk->streams = &s->stream;
}

/* With the mutex held; not in the list is fine. */
static void delist(struct serving *s)
{
    struct received_stream **link = &s->disk->streams;
    while (*link && *link != &s->stream)
        link = &(*link)->next;
    if (*link)
        *link = s->stream.next;
    pthread_cond_broadcast(&s->set->changed);
}

static void leave(struct serving *s)
{
    pthread_mutex_lock(&s->set->mutex);
    delist(s);
    s->migration->users--;
    pthread_cond_broadcast(&s->set->changed);
    pthread_mutex_unlock(&s->set->mutex);
}

/* -- mirror */

/* With the mutex held. Bytes of older epochs must not come after the new one has begun. */
static bool end_older(struct serving *s, struct error *err)
{
    int64_t until = clock_monotonic_ms() + OLD_STREAMS_LIMIT_MS;
    receiver_end_streams(s->disk);
    while (s->disk->streams) {
        if (!receiver_wait(s->set, until))
            return error_set(err, ERROR_TIMEOUT, "older streams of disk %d do not end",
                             s->hello->disk);
    }
    return true;
}

/* A receiver lives through epochs as long as it is sound: one that is dying, whose block server is
 * gone, or that could not write, does not flush the epoch before. */
static bool is_sound(struct received_disk *disk, int64_t epoch_before)
{
    struct error why;
    if (!disk->server || !image_server_is_alive(disk->server))
        return false;
    bool is_flushed = image_server_flush(disk->server, epoch_before, &why);
    if (!is_flushed)
        log_warning("the receiver is replaced: %s", why.text);
    return is_flushed;
}

/* One that is not sound is replaced by one that admits no epoch before this. */
static bool ready_server(struct serving *s, int64_t epoch_before, struct error *err)
{
    struct received_disk *disk = s->disk;
    const struct spec_vdi *vdi = &disk->spec.destination;
    char path[LIMIT_PATH + 1];
    enum image_format format;
    if (is_sound(disk, epoch_before))
        return true;
    if (!image_server_stop(take(disk->server), err) ||
        !sr_set_locate(s->set->srs, vdi->sr, vdi->vdi, path, &format, err))
        return false;
    if (format != vdi->format)
        return error_set(err, ERROR_CONFLICT, "VDI %s is %s: expected %s", vdi->vdi,
                         image_format_names[format], image_format_names[vdi->format]);
    struct image_server_config config = {.journal = s->set->journal,
                                         .directory = s->set->directory,
                                         .plugin_path = s->set->plugin_path,
                                         .migration = s->migration->id,
                                         .disk = s->hello->disk,
                                         .path = path,
                                         .format = format,
                                         .size_bytes = disk->spec.size_bytes,
                                         .lowest_epoch = s->hello->epoch};
    return image_server_start(&disk->server, &config, err);
}

/* The epoch is in the journal before anything of it can be written, so that no later process
 * admits it, or an older one, again. */
static bool begin_epoch(struct serving *s, struct error *err)
{
    auto_free char *name = receiver_epoch_name(s->migration->id, s->hello->disk);
    if (!journal_raise(s->set->journal, name, s->hello->epoch, err))
        return false;
    pthread_mutex_lock(&s->set->mutex);
    int64_t epoch_before = s->disk->epoch;
    s->disk->epoch = s->hello->epoch;
    s->disk->is_flushed = false;
    bool is_alone = end_older(s, err);
    pthread_mutex_unlock(&s->set->mutex);
    return is_alone && ready_server(s, epoch_before, err);
}

/* With the mutex held, which is released in between. */
static bool admit_mirror(struct serving *s, struct error *err)
{
    struct received_disk *disk = s->disk;
    if (s->hello->epoch <= disk->epoch)
        return error_set(err, ERROR_REFUSED,
                         "mirror epoch %" PRId64 " of disk %d is over: expected one above %" PRId64,
                         s->hello->epoch, s->hello->disk, disk->epoch);
    disk->is_admitting = true;
    pthread_mutex_unlock(&s->set->mutex);
    bool is_ready = begin_epoch(s, err);
    pthread_mutex_lock(&s->set->mutex);
    disk->is_admitting = false;
    pthread_cond_broadcast(&s->set->changed);
    return is_ready && check_open(s, err);
}

/* -- copy */

/* With the mutex held. */
static bool admit_copy(struct serving *s, struct error *err)
{
    const struct received_disk *disk = s->disk;
    if (s->hello->epoch != disk->epoch)
        return error_set(err, ERROR_REFUSED,
                         "copy of epoch %" PRId64
                         " of disk %d: expected the mirrored epoch %" PRId64,
                         s->hello->epoch, s->hello->disk, disk->epoch);
    if (!disk->server || !image_server_is_alive(disk->server))
        return error_set(err, ERROR_MIRROR_LOST,
                         "the receiver of disk %d has ended: begin a new mirror epoch",
                         s->hello->disk);
    return true;
}

/* -- both */

/* On success the stream is in the disk's list and *fd is a connection to its receiver. */
static bool admit(struct serving *s, const char *peer_host, int *fd, struct error *err)
{
    pthread_mutex_lock(&s->set->mutex);
    bool is_found = find_disk(s, peer_host, err);
    bool is_admitted = is_found && wait_for_turn(s, err);
    if (is_admitted && s->hello->channel == LINK_MIRROR)
        is_admitted = admit_mirror(s, err);
    else if (is_admitted)
        is_admitted = admit_copy(s, err);
    if (is_admitted)
        enlist(s);
    pthread_mutex_unlock(&s->set->mutex);
    if (is_admitted)
        is_admitted = image_server_connect(s->disk->server, fd, err);
    if (is_found && !is_admitted)
        leave(s);
    return is_admitted;
}

/* Takes stream and fd over. */
static void splice(struct serving *s, struct link_stream *stream, int fd)
{
    struct error err;
    struct link_relay *relay = NULL;
    struct link_relay_options options = {0};
    if (!link_accept(stream, &err)) {
        log_warning("%s stream of disk %d: %s", link_channel_names[s->hello->channel],
                    s->hello->disk, err.text);
        close(fd);
        link_close(stream);
        return;
    }
    if (!link_relay_start_fd(&relay, stream, fd, &options, &err)) {
        log_warning("%s stream of disk %d: %s", link_channel_names[s->hello->channel],
                    s->hello->disk, err.text);
        return;
    }
    while (!link_relay_wait(relay, MUST_END_CHECK_MS) && !atomic_load(&s->stream.must_end))
        continue;
    link_relay_stop(relay);
}

void receiver_serve(struct receiver_set *set, struct link_stream *stream, const char *peer_host,
                    const struct link_hello *hello)
{
    struct serving s = {.set = set, .hello = hello};
    struct error err;
    int fd = -1;
    log_context_migration(hello->migration);
    if (admit(&s, peer_host, &fd, &err)) {
        log_info("%s stream of disk %d, epoch %" PRId64, link_channel_names[hello->channel],
                 hello->disk, hello->epoch);
        splice(&s, stream, fd);
        leave(&s);
    } else {
        log_warning("%s stream of disk %d, epoch %" PRId64 " refused: %s",
                    link_channel_names[hello->channel], hello->disk, hello->epoch, err.text);
        link_refuse(stream, &err);
        link_close(stream);
    }
    log_context_migration(NULL);
}
