/* What the parts of one transfer share.
 *
 * A disk belongs to its thread while transfer_run runs, and to the caller of drain, abort and
 * finish at other times. What progress and others read meanwhile is under transfer->lock. */
#pragma once

#include "agent/mirror/copier.h"
#include "agent/mirror/copy_yield.h"
#include "agent/mirror/dirty_bitmap.h"
#include "agent/mirror/guest_stop.h"
#include "agent/mirror/mirror_job.h"
#include "agent/mirror/transfer.h"
#include "agent/process/child.h"
#include "base/cleanup.h"

#include <pthread.h>
#include <stdatomic.h>

enum {
    TRANSFER_COPY_CONNECTIONS_FEWEST = 2, /* one reads while the other sends */
    TRANSFER_COPY_CONNECTIONS = 4,        /* at most */
    TRANSFER_COPY_QUEUE = 16,             /* requests of COPY_CHUNK_BYTES */
    TRANSFER_CONNECT_MS = 3000,           /* also how long a cancellation may have to wait */
    TRANSFER_COPY_STALL_MS = 60000,       /* a flush at a slow destination takes long */
};

struct disk {
    struct transfer *transfer;
    const struct spec_disk *spec;
    int index;
    pthread_t thread;
    bool has_thread;
    struct mirror_names names;
    char *mirror_socket, *bitmap_socket, *reader_socket, *reader_log, *map_path;

    struct disk_attach attach;
    struct monitor *monitor; /* the transfer's; NULL until attached */
    uint64_t generation;     /* of the monitor when the epoch began */
    struct chunk_map *map;
    bool was_checked; /* the image can be read from outside */
    bool is_fresh;    /* nothing was ever written to the destination before this epoch */
    struct child *reader;
    struct copy_yield yield;

    /* transfer->lock */
    struct link_relay *mirror_relay;
    struct link_relay *copy_relays[TRANSFER_COPY_CONNECTIONS];
    struct copier *copier;
    int64_t epoch;
    bool is_mirrored, is_copied, is_stalled, has_copy_turn;
    uint64_t copied_base_bytes; /* done before the copier that runs */
    uint64_t zero_bytes;        /* by copiers that ended */
    uint64_t mirrored_bytes;    /* by relays that ended */
    uint64_t resent_bytes;
    int64_t longest_wait_ms;
    int64_t recent_wait_ms; /* since the copy's rate was last adjusted */
    char waits_for[160];
};

struct transfer {
    struct transfer_environment environment;
    struct migration_spec spec;
    struct guest guest;
    size_t disk_count;
    struct disk *disks;
    pthread_mutex_t stop_lock;   /* one stop of the guest at a time */
    pthread_mutex_t bitmap_lock; /* QEMU has one NBD server */
    atomic_bool is_cancelled;

    pthread_mutex_t lock; /* below, and disks as said there */
    pthread_cond_t has_changed;
    size_t monitor_count;
    struct monitor *monitors[LIMIT_DISKS];
    bool is_over; /* the disks' threads shall end; mirrors stay as they are */
    bool has_failed;
    struct error failure;
    int copying;
    struct transfer_settings settings;
    enum migration_phase phase;
};

/* transfer.c */
/* False with ERROR_CANCELLED or when the transfer is over. */
bool transfer_goes_on(struct transfer *transfer, struct error *err) must_check;
/* Sleeps, but not beyond the end of the transfer. */
void transfer_pause(struct transfer *transfer, int ms);
/* The monitor of that path, made when it is new. */
struct monitor *transfer_monitor(struct transfer *transfer, const char *path);
bool transfer_ledger_add(struct transfer *transfer, const char *kind, const char *reference,
                         struct error *err) must_check;
bool transfer_ledger_remove(struct transfer *transfer, const char *kind, const char *reference,
                            struct error *err) must_check;
