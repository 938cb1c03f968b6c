/* The hypervisor, the mirrors and the receivers of the handoff test; see world.h. Each of them
 * checks, at the moment it is called, what the protocol promises of that moment. */
#include "tests/threads/handoff/world.h"

#include "base/clock.h"
#include "base/memory.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { STREAM_BYTES = (3 << 20) + 13, CHUNK_BYTES = 100001, LAST_PASS_BYTES = 300007 };

const char *const place_names[] = {"absent", "running", "suspended", "building", "paused"};

struct world *world_make(void)
{
    struct world *world =
        mmap(NULL, sizeof *world, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (world == MAP_FAILED)
        abort();
    return world;
}

void world_reset(struct world *world)
{
    size_t kept = offsetof(struct world, domain);
    memset((char *)world + kept, 0, sizeof *world - kept);
    world->domain[SOURCE] = RUNNING;
    world->receiving = true;
}

void world_violated(struct world *world, const char *what)
{
    fprintf(stderr, "VIOLATED: %s\n", what);
    world->violations++;
}

static void demand(struct hypervisor *hv, bool is_true, const char *what)
{
    if (!is_true)
        world_violated(hv->world, what);
}

static enum handoff_state recorded(struct hypervisor *hv)
{
    struct handoff_record record;
    struct error err;
    enum migration_role role = hv->end == SOURCE ? ROLE_SOURCE : ROLE_DESTINATION;
    if (!journal_get_handoff(hv->journal, hv->migration, role, &record, &err))
        abort();
    return record.state;
}

/* -- the source */

static unsigned char stream_byte(size_t i)
{
    return (unsigned char)(i * 2654435761U >> 13);
}

static bool write_stream(int fd, size_t from, size_t to, struct error *err)
{
    unsigned char chunk[1024];
    while (from < to) {
        size_t size = to - from < sizeof chunk ? to - from : sizeof chunk;
        for (size_t i = 0; i < size; i++)
            chunk[i] = stream_byte(from + i);
        ssize_t done = write(fd, chunk, size);
        if (done < 0)
            return error_set_errno(err, ERROR_INTERNAL, errno, "the domain's stream");
        from += (size_t)done;
    }
    return true;
}

static bool live_passes(const struct world *world, int fd, const struct save_hooks *hooks,
                        struct error *err)
{
    for (size_t at = 0; at < STREAM_BYTES - LAST_PASS_BYTES; at += CHUNK_BYTES) {
        size_t end = at + CHUNK_BYTES;
        if (end > STREAM_BYTES - LAST_PASS_BYTES)
            end = STREAM_BYTES - LAST_PASS_BYTES;
        if (hooks->is_cancelled(hooks->context))
            return error_set(err, ERROR_CANCELLED, "save was cancelled");
        hooks->on_progress(hooks->context, &(struct memory_progress){.sent = at, .iteration = 1});
        if (!write_stream(fd, at, end, err))
            return false;
    }
    return !world->save_fails || error_set(err, ERROR_INTERNAL, "save failed");
}

static bool save(struct hypervisor *hv, const char *uuid, bool is_live, int fd,
                 const struct save_hooks *hooks, bool *is_suspended, struct error *err)
{
    struct world *world = hv->world;
    (void)uuid, (void)is_live;
    *is_suspended = false;
    if (!live_passes(world, fd, hooks, err))
        return false;
    world->domain[SOURCE] = SUSPENDED;
    *is_suspended = true;
    if (!hooks->on_suspended(hooks->context, err))
        return false;
    if (world->late_save_fails)
        return error_set(err, ERROR_INTERNAL, "save failed late");
    return write_stream(fd, STREAM_BYTES - LAST_PASS_BYTES, STREAM_BYTES, err);
}

static bool resume(struct hypervisor *hv, const char *uuid, struct error *err)
{
    struct world *world = hv->world;
    (void)uuid;
    if (world->domain[SOURCE] == ABSENT)
        return error_set(err, ERROR_NOT_FOUND, "no such domain");
    demand(hv, world->domain[DESTINATION] != RUNNING, "resumed while it runs at the destination");
    demand(hv, recorded(hv) != HANDOFF_OWNED, "resumed while the record says owned");
    world->in_sync = false;
    world->domain[SOURCE] = RUNNING;
    return true;
}

static bool config(struct hypervisor *hv, const char *uuid, char **text, struct error *err)
{
    (void)hv, (void)err;
    *text = memory_format("{\"uuid\":\"%s\"}", uuid);
    return true;
}

/* -- the destination */

static bool read_stream(struct hypervisor *hv, int fd, struct error *err)
{
    static unsigned char chunk[1 << 16];
    size_t at = 0;
    ssize_t got;
    while ((got = read(fd, chunk, sizeof chunk)) > 0) {
        for (size_t i = 0; i < (size_t)got; i++)
            if (chunk[i] != stream_byte(at + i))
                return error_set(err, ERROR_INVALID, "byte %zu is wrong", at + i);
        at += (size_t)got;
        if (at > STREAM_BYTES - 8)
            demand(hv, hv->world->flushed, "the tail came before the disks were flushed");
    }
    if (at != STREAM_BYTES)
        return error_set(err, ERROR_INVALID, "the stream ended after %zu bytes", at);
    return !hv->world->restore_fails || error_set(err, ERROR_UNSUPPORTED, "no such machine");
}

static bool restore(struct hypervisor *hv, const char *uuid, const char *text,
                    const struct restore_map *map, int fd, struct error *err)
{
    struct world *world = hv->world;
    demand(hv, strstr(text, uuid) != NULL, "the configuration is another domain's");
    demand(hv, map->disk_count == 1 && strcmp(map->disks[0].path, "/sr/vdi") == 0,
           "the disk is not mapped");
    demand(hv, map->vif_count == 1 && strcmp(map->vifs[0].bridge, "br-lan-b") == 0,
           "the VIF is not mapped");
    demand(hv, world->domain[DESTINATION] == ABSENT, "built over another domain");
    world->domain[DESTINATION] = BUILDING;
    bool is_read = read_stream(hv, fd, err);
    world->domain[DESTINATION] = is_read ? PAUSED : ABSENT;
    return is_read;
}

static bool unpause(struct hypervisor *hv, const char *uuid, struct error *err)
{
    struct world *world = hv->world;
    (void)uuid;
    if (world->domain[DESTINATION] == ABSENT)
        return error_set(err, ERROR_NOT_FOUND, "no such domain");
    if (world->unpause_failures > 0) {
        world->unpause_failures--;
        return error_set(err, ERROR_INTERNAL, "not now");
    }
    demand(hv, world->domain[SOURCE] != RUNNING, "unpaused while it runs at the source");
    demand(hv, recorded(hv) == HANDOFF_OWNED, "unpaused before the record said owned");
    demand(hv, world->in_sync && world->flushed, "unpaused on disks that lack writes");
    world->domain[DESTINATION] = RUNNING;
    return true;
}

static bool destroy(struct hypervisor *hv, const char *uuid, struct error *err)
{
    (void)uuid, (void)err;
    demand(hv, hv->world->domain[hv->end] != RUNNING, "a running domain was destroyed");
    hv->world->domain[hv->end] = ABSENT;
    return true;
}

static bool announce(struct hypervisor *hv, const char *uuid, struct error *err)
{
    (void)uuid, (void)err;
    demand(hv, hv->world->domain[DESTINATION] == RUNNING, "announced before it ran");
    return true;
}

static void adopt(struct hypervisor *hv, const char *uuid)
{
    (void)uuid;
    demand(hv, recorded(hv) == HANDOFF_OWNED, "adopted before the record said owned");
    hv->world->adopted = true;
}

static bool list(struct hypervisor *hv, struct domain_list *out, struct error *err)
{
    (void)err;
    *out = (struct domain_list){0};
    if (hv->world->domain[hv->end] == ABSENT)
        return true;
    out->items = memory_array(1, sizeof *out->items);
    out->count = 1;
    snprintf(out->items[0].uuid, UUID_SIZE, "%s", "dddddddd-dddd-4ddd-8ddd-dddddddddddd");
    return true;
}

void domain_list_done(struct domain_list *list_of)
{
    free(list_of->items);
    *list_of = (struct domain_list){0};
}

const struct hypervisor_driver world_driver = {
    .name = "world",
    .list = list,
    .config = config,
    .save = save,
    .restore = restore,
    .unpause = unpause,
    .resume = resume,
    .destroy = destroy,
    .announce = announce,
    .adopt = adopt,
};

/* -- disks */

bool transfer_drain(struct transfer *transfer, int timeout_ms, struct error *err)
{
    (void)timeout_ms;
    if (transfer->world->drain_fails)
        return error_set(err, ERROR_MIRROR_LOST, "a mirror broke");
    if (transfer->world->domain[SOURCE] != SUSPENDED)
        world_violated(transfer->world, "drained while the domain ran");
    transfer->world->drained = true;
    transfer->world->in_sync = true;
    return true;
}

bool receiver_flush_and_close(struct receiver_set *set, const char *migration, struct error *err)
{
    (void)migration;
    if (!set->world->drained) /* the source may have given up since and run again */
        world_violated(set->world, "flushed before the drain");
    set->world->receiving = false;
    if (set->world->flush_fails)
        return error_set(err, ERROR_NO_SPACE, "the disk is full");
    set->world->flushed = true;
    return true;
}

bool receiver_admit(struct receiver_set *set, const struct migration_spec *spec, struct error *err)
{
    (void)set, (void)spec, (void)err;
    return true;
}

bool receiver_reopen(struct receiver_set *set, const char *migration, struct error *err)
{
    (void)migration, (void)err;
    if (set->world->domain[DESTINATION] != ABSENT)
        world_violated(set->world, "mirrors let in beside a domain");
    set->world->flushed = false;
    set->world->receiving = true;
    return true;
}

bool sr_set_locate(struct sr_set *set, const char *sr, const char *vdi, char path[LIMIT_PATH + 1],
                   enum image_format *format, struct error *err)
{
    (void)set, (void)sr, (void)vdi, (void)err;
    snprintf(path, LIMIT_PATH + 1, "/sr/vdi");
    *format = IMAGE_RAW;
    return true;
}
