/* Copier, COPY streams and reader of one disk. */
#include "agent/mirror/disk_copy.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/memory.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { READER_GRACE_MS = 200 };

static bool start_relay(struct disk *disk, int i, struct link_stream *stream, int *fd,
                        struct error *err)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
        link_close(stream);
        return error_set_errno(err, ERROR_INTERNAL, errno, "socket pair of a copy stream");
    }
    struct link_relay_options options = {.watch_nbd = true,
                                         .stall_limit_ms = TRANSFER_COPY_STALL_MS};
    struct link_relay *relay = NULL;
    if (!link_relay_start_fd(&relay, stream, pair[0], &options, err)) {
        close(pair[1]);
        return false;
    }
    pthread_mutex_lock(&disk->transfer->lock);
    disk->copy_relays[i] = relay;
    pthread_mutex_unlock(&disk->transfer->lock);
    *fd = pair[1];
    return true;
}

bool disk_copy_connect_error(struct error *err)
{
    if (err->code != ERROR_NO_SPACE && err->code != ERROR_UNSUPPORTED)
        err->code = ERROR_UNREACHABLE;
    return false;
}

/* On a thread of the copier. */
static bool connect_copy(void *context, int i, int *fd, struct error *err)
{
    struct disk *disk = context;
    struct transfer *transfer = disk->transfer;
    const struct spec_host *peer = &transfer->spec.destination;
    struct link_hello hello = {.channel = LINK_COPY, .epoch = disk->epoch, .disk = disk->index};
    memcpy(hello.migration, transfer->spec.migration, sizeof hello.migration);
    struct link_stream *stream = NULL;
    if (!link_connect(&stream, peer->id, peer->address, peer->port, transfer->environment.files,
                      &hello, TRANSFER_CONNECT_MS, err))
        return disk_copy_connect_error(err);
    return start_relay(disk, i, stream, fd, err);
}

/* Each connection keeps about a processor busy with its encryption: more of them than processors
 * only take turns. */
static int count_connections(void)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    if (processors < TRANSFER_COPY_CONNECTIONS_FEWEST)
        return TRANSFER_COPY_CONNECTIONS_FEWEST;
    return processors < TRANSFER_COPY_CONNECTIONS ? (int)processors : TRANSFER_COPY_CONNECTIONS;
}

bool disk_copy_start(struct disk *disk, struct error *err)
{
    struct transfer *transfer = disk->transfer;
    bool is_qemu_nbd = disk->attach.reader == READER_QEMU_NBD;
    struct copier_source source = {
        .reader = disk->attach.reader,
        .path = is_qemu_nbd ? disk->reader_socket : disk->attach.reader_path,
        .size_bytes = disk->spec->size_bytes,
        .may_skip_holes = disk->is_fresh && chunk_map_done_bytes(disk->map) == 0,
    };
    auto_free char *export_name = memory_format("copy.%lld", (long long)disk->epoch);
    struct copier_options options = {
        .connections = count_connections(),
        .queue_depth = TRANSFER_COPY_QUEUE,
        .connect = connect_copy,
        .context = disk,
        .export_name = export_name,
    };
    struct copier *copier = NULL;
    disk->yield = (struct copy_yield){0};
    if (!copier_start(&copier, &source, disk->map, &options, err))
        return error_prefix(err, "disk %s", disk->spec->device);
    pthread_mutex_lock(&transfer->lock);
    disk->copier = copier;
    transfer->copying++;
    pthread_mutex_unlock(&transfer->lock);
    disk_copy_adjust(disk, 0);
    return true;
}

bool disk_copy_check(struct disk *disk, bool *has_ended, struct error *err)
{
    if (!copier_join(disk->copier, 0, has_ended, err))
        return error_prefix(err, "disk %s", disk->spec->device);
    return true;
}

void disk_copy_adjust(struct disk *disk, int64_t wait_ms)
{
    struct transfer *transfer = disk->transfer;
    struct copier_numbers numbers;
    copier_numbers(disk->copier, &numbers);
    uint64_t limit =
        copy_yield_update(&disk->yield, wait_ms, numbers.sent_bytes, clock_monotonic_ms());
    pthread_mutex_lock(&transfer->lock);
    uint64_t cap = transfer->settings.bandwidth_bytes_per_s;
    bool is_paused = transfer->settings.is_copy_paused;
    if (cap != 0 && transfer->copying > 1)
        cap = cap / (uint64_t)transfer->copying + 1;
    pthread_mutex_unlock(&transfer->lock);
    if (cap != 0 && (limit == 0 || cap < limit))
        limit = cap;
    copier_set_bandwidth(disk->copier, limit);
    copier_set_paused(disk->copier, is_paused);
}

static struct copier *take_copier(struct disk *disk)
{
    struct transfer *transfer = disk->transfer;
    pthread_mutex_lock(&transfer->lock);
    struct copier *copier = take(disk->copier);
    if (copier) {
        struct copier_numbers numbers;
        copier_numbers(copier, &numbers);
        disk->copied_base_bytes += numbers.copied_bytes;
        disk->zero_bytes += numbers.zero_bytes;
        transfer->copying--;
    }
    pthread_mutex_unlock(&transfer->lock);
    return copier;
}

void disk_copy_stop(struct disk *disk)
{
    copier_free(take_copier(disk));
    for (int i = 0; i < TRANSFER_COPY_CONNECTIONS; i++) {
        pthread_mutex_lock(&disk->transfer->lock);
        struct link_relay *relay = take(disk->copy_relays[i]);
        pthread_mutex_unlock(&disk->transfer->lock);
        link_relay_stop(relay);
    }
    child_stop(take(disk->reader), READER_GRACE_MS);
}
