/* Abort and finish: nothing of the transfer stays, whatever became of the domain and of the process
 * that began it. The ledger says which bitmaps and nodes may be there; what is there is asked of
 * QEMU. */
#include "agent/mirror/disk_mirror.h"
#include "agent/mirror/guest_run.h"
#include "agent/mirror/transfer_state.h"

#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"

#include <string.h>

/* --- the domain's QEMU --- */

static bool is_domain_gone(struct transfer *transfer, bool *is_gone, struct error *err)
{
    const struct transfer_environment *environment = &transfer->environment;
    struct domain_list list = {0};
    if (!environment->driver->list(environment->hypervisor, &list, err))
        return error_prefix(err, "list of domains");
    *is_gone = true;
    for (size_t i = 0; i < list.count; i++) {
        bool has_name = strcmp(list.items[i].uuid, transfer->spec.domain) == 0;
        if (has_name && list.items[i].state != DOMAIN_HALTED)
            *is_gone = false;
    }
    domain_list_done(&list);
    return true;
}

static bool clean_disk(struct disk *disk, struct error *err)
{
    struct mirror_job last;
    struct dirty_bitmap_list bitmaps;
    if (!disk_mirror_end(disk, &last, err) ||
        !dirty_bitmap_clean(disk->monitor, &disk->names, disk->bitmap_socket, err) ||
        !dirty_bitmap_find(disk->monitor, &disk->names, disk->attach.node, &bitmaps, err))
        return false;
    for (size_t i = 0; i < bitmaps.count; i++) {
        if (!dirty_bitmap_remove(disk->monitor, disk->attach.node, bitmaps.names[i], err))
            return false;
    }
    return true;
}

/* The guest first: if an agent that is gone stopped it, it must not wait for the rest. */
static bool clean_domain(struct transfer *transfer, struct error *err)
{
    for (size_t i = 0; i < transfer->disk_count; i++) {
        struct disk *disk = &transfer->disks[i];
        if (!disk_mirror_attach(disk, err))
            return false;
        pthread_mutex_lock(&transfer->stop_lock);
        bool is_repaired = guest_stop_repair(&transfer->guest, disk->monitor, err);
        pthread_mutex_unlock(&transfer->stop_lock);
        if (!is_repaired)
            return false;
    }
    for (size_t i = 0; i < transfer->disk_count; i++) {
        if (!clean_disk(&transfer->disks[i], err))
            return error_prefix(err, "disk %s", transfer->disks[i].spec->device);
    }
    return true;
}

/* --- outside of it --- */

static bool remove_files(struct disk *disk, struct error *err)
{
    chunk_map_close(take(disk->map));
    return file_remove(disk->map_path, err) && file_remove(disk->mirror_socket, err) &&
           file_remove(disk->bitmap_socket, err) && file_remove(disk->reader_socket, err) &&
           file_remove(disk->reader_log, err);
}

struct ledger_sweep {
    struct ledger_entry *entries;
    size_t count, capacity;
};

static bool is_ours(const char *kind)
{
    static const char *const kinds[] = {"bitmap",    "target-node", "reader",
                                        "chunk-map", "socket",      "stop"};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (strcmp(kind, kinds[i]) == 0)
            return true;
    }
    return false;
}

static bool collect(void *context, const struct ledger_entry *entry, struct error *err)
{
    struct ledger_sweep *sweep = context;
    (void)err;
    if (!is_ours(entry->kind))
        return true;
    if (sweep->count == sweep->capacity) {
        sweep->capacity = sweep->capacity ? 2 * sweep->capacity : 16;
        sweep->entries = memory_resize(sweep->entries, sweep->capacity, sizeof *sweep->entries);
    }
    sweep->entries[sweep->count++] = *entry;
    return true;
}

static bool remove_entries(struct transfer *transfer, struct error *err)
{
    struct ledger_sweep sweep = {0};
    bool is_done = journal_each_ledger(transfer->environment.journal, transfer->spec.migration,
                                       collect, &sweep, err);
    for (size_t i = 0; is_done && i < sweep.count; i++)
        is_done = transfer_ledger_remove(transfer, sweep.entries[i].kind,
                                         sweep.entries[i].reference, err);
    free(sweep.entries);
    return is_done;
}

static bool remove_all_outside(struct transfer *transfer, struct error *err)
{
    for (size_t i = 0; i < transfer->disk_count; i++) {
        struct disk *disk = &transfer->disks[i];
        disk_mirror_close_streams(disk);
        if (!remove_files(disk, err))
            return false;
    }
    /* The run last: as long as anything is to be ended in a QEMU, it says in which. */
    return remove_entries(transfer, err) && guest_run_forget(&transfer->guest, err);
}

static void set_phase(struct transfer *transfer, enum migration_phase phase)
{
    pthread_mutex_lock(&transfer->lock);
    transfer->phase = phase;
    pthread_mutex_unlock(&transfer->lock);
}

/* When the domain could not be cleaned: is there nothing of ours in it? Who looks after a domain
 * whose guest has ended takes its QEMU away about now; one that does not answer in time is asked
 * again. */
static bool is_domain_over(struct transfer *transfer, const struct error *why, bool *is_over,
                           struct error *err)
{
    struct error ended;
    bool does_not_run = why->code == ERROR_NOT_FOUND || why->code == ERROR_CONFLICT ||
                        why->code == ERROR_GUEST_ENDED;
    bool has_ended = why->code != ERROR_TIMEOUT && !guest_run_check(&transfer->guest, &ended) &&
                     ended.code == ERROR_GUEST_ENDED;
    *is_over = does_not_run || has_ended;
    return *is_over || is_domain_gone(transfer, is_over, err);
}

bool transfer_abort(struct transfer *transfer, struct error *err)
{
    bool is_over;
    struct error why;
    set_phase(transfer, PHASE_ABORTING);
    /* Local sockets first: a mirror whose peer is dead holds up every stop of the guest. */
    for (size_t i = 0; i < transfer->disk_count; i++)
        disk_mirror_close_streams(&transfer->disks[i]);
    if (!clean_domain(transfer, &why)) {
        if (!is_domain_over(transfer, &why, &is_over, err))
            return false;
        if (!is_over) {
            *err = why;
            return false;
        }
        log_info("nothing is left to end in domain %s: %s", transfer->spec.domain, why.text);
    }
    return remove_all_outside(transfer, err);
}

bool transfer_finish(struct transfer *transfer, struct error *err)
{
    set_phase(transfer, PHASE_CLEANING);
    return remove_all_outside(transfer, err);
}
