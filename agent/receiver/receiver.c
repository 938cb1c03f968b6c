/* The migrations of which this host receives disks; see receiver.h. Streams: receiver_serve.c. */
#include "agent/receiver/receiver_state.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

enum {
    STREAMS_END_LIMIT_MS = 10000, /* for streams whose source has ended them */
    DISCARD_LIMIT_MS = 30000,     /* for streams that are being ended, receivers being started */
};

/* -- the set */

bool receiver_set_open(struct receiver_set **out, const struct receiver_config *config,
                       struct error *err)
{
    auto_free char *directory = memory_format("%s/rx", config->run_directory);
    size_t longest = strlen(directory) + strlen("/-99.nbd") + UUID_SIZE - 1;
    if (longest >= sizeof(((struct sockaddr_un *)NULL)->sun_path))
        return error_set(err, ERROR_INVALID,
                         "run directory %s: too long for the names of sockets in it",
                         config->run_directory);
    if (access(config->plugin_path, R_OK) < 0)
        return error_set_errno(err, ERROR_NOT_FOUND, errno, "nbdkit plugin %s",
                               config->plugin_path);
    if (!file_make_directory(directory, 0700, err))
        return false;
    struct receiver_set *set = memory_alloc(sizeof *set);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&set->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&set->mutex, NULL);
    set->directory = take(directory);
    set->plugin_path = memory_copy_text(config->plugin_path);
    set->journal = config->journal;
    set->srs = config->srs;
    *out = set;
    return true;
}

struct received_migration *receiver_find(struct receiver_set *set, const char *migration)
{
    for (struct received_migration *m = set->first; m; m = m->next) {
        if (!m->is_ended && strcmp(m->id, migration) == 0)
            return m;
    }
    return NULL;
}

bool receiver_wait(struct receiver_set *set, int64_t until_ms)
{
    struct timespec until = {until_ms / 1000, until_ms % 1000 * 1000000};
    return pthread_cond_timedwait(&set->changed, &set->mutex, &until) != ETIMEDOUT;
}

void receiver_end_streams(struct received_disk *disk)
{
    for (struct received_stream *stream = disk->streams; stream; stream = stream->next)
        atomic_store(&stream->must_end, true);
}

char *receiver_epoch_name(const char *migration, int disk)
{
    return memory_format("receiver/%s/%d", migration, disk);
}

/* -- admission of migrations */

/* Receivers of an earlier process are gone with it; the epochs it admitted are not. */
static bool load(struct receiver_set *set, struct received_migration *migration, struct error *err)
{
    if (!image_server_clean(set->journal, set->directory, migration->id, err))
        return false;
    for (size_t i = 0; i < migration->disk_count; i++) {
        auto_free char *name = receiver_epoch_name(migration->id, (int)i);
        if (!journal_current(set->journal, name, &migration->disks[i].epoch, err))
            return false;
    }
    return true;
}

bool receiver_admit(struct receiver_set *set, const struct migration_spec *spec, struct error *err)
{
    struct received_migration *added = memory_alloc(sizeof *added);
    snprintf(added->id, sizeof added->id, "%s", spec->migration);
    snprintf(added->source, sizeof added->source, "%s", spec->source.id);
    added->disk_count = spec->disks.count;
    added->disks = memory_array(added->disk_count, sizeof *added->disks);
    for (size_t i = 0; i < added->disk_count; i++)
        added->disks[i].spec = *spec_disk_at(spec, i);
    pthread_mutex_lock(&set->mutex);
    bool is_known = receiver_find(set, spec->migration) != NULL;
    bool is_done = is_known || load(set, added, err);
    if (is_done && !is_known) {
        added->next = set->first;
        set->first = take(added);
    }
    pthread_mutex_unlock(&set->mutex);
    if (added)
        free(added->disks);
    free(added);
    return is_done;
}

/* -- ends */

static bool is_quiet(const struct received_migration *migration)
{
    for (size_t i = 0; i < migration->disk_count; i++) {
        if (migration->disks[i].streams || migration->disks[i].is_admitting)
            return false;
    }
    return true;
}

/* With the mutex held. Takes the migration once it is quiet and nobody else has it; NULL with the
 * error otherwise. */
static struct received_migration *take_quiet(struct receiver_set *set, const char *id,
                                             struct error *err)
{
    int64_t until = clock_monotonic_ms() + STREAMS_END_LIMIT_MS;
    for (;;) {
        struct received_migration *migration = receiver_find(set, id);
        if (!migration) {
            error_set(err, ERROR_NOT_FOUND, "migration %s is not received here", id);
            return NULL;
        }
        migration->is_closed = true;
        if (is_quiet(migration) && !migration->is_taken) {
            migration->is_taken = true;
            migration->users++;
            return migration;
        }
        if (!receiver_wait(set, until)) {
            error_set(err, ERROR_TIMEOUT, "streams of migration %s did not end within %d ms", id,
                      STREAMS_END_LIMIT_MS);
            return NULL;
        }
    }
}

static void give_back(struct receiver_set *set, struct received_migration *migration)
{
    pthread_mutex_lock(&set->mutex);
    migration->is_taken = false;
    migration->users--;
    pthread_cond_broadcast(&set->changed);
    pthread_mutex_unlock(&set->mutex);
}

static bool flush_disk(const struct received_disk *disk, int index, struct error *err)
{
    if (disk->is_flushed)
        return true;
    if (disk->epoch == 0)
        return error_set(err, ERROR_CONFLICT, "disk %d was never mirrored", index);
    if (!disk->server || !image_server_is_alive(disk->server))
        return error_set(err, ERROR_MIRROR_LOST,
                         "the receiver of disk %d ended before its last flush", index);
    return image_server_flush(disk->server, disk->epoch, err) ||
           error_prefix(err, "disk %d", index);
}

/* The image itself, once nobody writes it: what its format's driver wrote when it closed. */
static bool sync_image(struct receiver_set *set, const struct spec_disk *spec, struct error *err)
{
    char path[LIMIT_PATH + 1];
    enum image_format format;
    if (!sr_set_locate(set->srs, spec->destination.sr, spec->destination.vdi, path, &format, err))
        return false;
    auto_close int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0 || fsync(fd) < 0)
        return error_set_errno(err, ERROR_INTERNAL, errno, "%s", path);
    return true;
}

/* With the migration taken. All are flushed before the first is closed, so that a failure leaves
 * the receivers as they are. */
static bool flush_all(struct receiver_set *set, struct received_migration *migration,
                      struct error *err)
{
    for (size_t i = 0; i < migration->disk_count; i++) {
        if (!flush_disk(&migration->disks[i], (int)i, err))
            return false;
    }
    for (size_t i = 0; i < migration->disk_count; i++) {
        struct received_disk *disk = &migration->disks[i];
        if (!image_server_stop(take(disk->server), err) || !sync_image(set, &disk->spec, err))
            return false;
        disk->is_flushed = true;
    }
    return true;
}

bool receiver_flush_and_close(struct receiver_set *set, const char *migration, struct error *err)
{
    pthread_mutex_lock(&set->mutex);
    struct received_migration *taken = take_quiet(set, migration, err);
    pthread_mutex_unlock(&set->mutex);
    if (!taken)
        return false;
    bool is_done = flush_all(set, taken, err);
    give_back(set, taken);
    return is_done;
}

bool receiver_reopen(struct receiver_set *set, const char *migration, struct error *err)
{
    int64_t until = clock_monotonic_ms() + STREAMS_END_LIMIT_MS;
    struct received_migration *found;
    bool is_late = false;
    pthread_mutex_lock(&set->mutex);
    while ((found = receiver_find(set, migration)) && found->is_taken && !is_late)
        is_late = !receiver_wait(set, until);
    bool is_done = found && !found->is_taken;
    if (is_done) {
        for (size_t i = 0; i < found->disk_count; i++)
            found->disks[i].is_flushed = false; /* the next flush is of a new mirror epoch */
        found->is_closed = false;
    }
    pthread_mutex_unlock(&set->mutex);
    if (!found)
        return error_set(err, ERROR_NOT_FOUND, "migration %s is not received here", migration);
    return is_done ||
           error_set(err, ERROR_TIMEOUT, "migration %s is still being flushed", migration);
}

/* With the mutex held. True when no thread uses the migration any more; then it is the caller's,
 * and nobody finds it. */
static bool withdraw(struct receiver_set *set, struct received_migration *migration)
{
    int64_t until = clock_monotonic_ms() + DISCARD_LIMIT_MS;
    migration->is_ended = migration->is_closed = true;
    pthread_cond_broadcast(&set->changed);
    for (;;) {
        for (size_t i = 0; i < migration->disk_count; i++)
            receiver_end_streams(&migration->disks[i]);
        if (migration->users == 0)
            return true;
        if (!receiver_wait(set, until)) {
            migration->is_ended = false; /* to be found by the next try */
            return false;
        }
    }
}

static void stop_servers(struct received_migration *migration)
{
    struct error err;
    for (size_t i = 0; i < migration->disk_count; i++) {
        if (!image_server_stop(take(migration->disks[i].server), &err))
            log_warning("receiver of disk %zu: %s", i, err.text);
    }
}

/* With the mutex held. */
static void forget(struct receiver_set *set, struct received_migration *migration)
{
    struct received_migration **link = &set->first;
    while (*link != migration)
        link = &(*link)->next;
    *link = migration->next;
    free(migration->disks);
    free(migration);
    pthread_cond_broadcast(&set->changed);
}

/* With the mutex held: somebody else is discarding it. */
static bool is_being_ended(const struct receiver_set *set, const char *id)
{
    for (const struct received_migration *m = set->first; m; m = m->next) {
        if (m->is_ended && strcmp(m->id, id) == 0)
            return true;
    }
    return false;
}

/* With the mutex held, which is released while the servers are stopped. */
static bool end_migration(struct receiver_set *set, const char *id)
{
    int64_t until = clock_monotonic_ms() + DISCARD_LIMIT_MS;
    while (is_being_ended(set, id)) {
        if (!receiver_wait(set, until))
            return false;
    }
    struct received_migration *found = receiver_find(set, id);
    if (!found)
        return true;
    if (!withdraw(set, found))
        return false;
    pthread_mutex_unlock(&set->mutex);
    stop_servers(found);
    pthread_mutex_lock(&set->mutex);
    forget(set, found);
    return true;
}

bool receiver_discard(struct receiver_set *set, const char *migration, struct error *err)
{
    pthread_mutex_lock(&set->mutex);
    bool is_ended = end_migration(set, migration);
    pthread_mutex_unlock(&set->mutex);
    if (!is_ended)
        return error_set(err, ERROR_TIMEOUT, "streams of migration %s did not end within %d ms",
                         migration, DISCARD_LIMIT_MS);
    return image_server_clean(set->journal, set->directory, migration, err);
}

void receiver_set_close(struct receiver_set *set)
{
    if (!set)
        return;
    bool is_free = true;
    pthread_mutex_lock(&set->mutex);
    while (set->first && is_free) {
        char id[UUID_SIZE];
        snprintf(id, sizeof id, "%s", set->first->id);
        is_free = end_migration(set, id);
    }
    pthread_mutex_unlock(&set->mutex);
    if (!is_free) { /* a thread still has it; the process is about to end anyway */
        log_error("receivers: streams did not end within %d ms", DISCARD_LIMIT_MS);
        return;
    }
    pthread_cond_destroy(&set->changed);
    pthread_mutex_destroy(&set->mutex);
    free(set->directory);
    free(set->plugin_path);
    free(set);
}
