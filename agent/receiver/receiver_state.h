/* What receiver.c and receiver_serve.c share. One mutex guards everything; what blocks is done
 * outside of it, under a flag that keeps others away.
 *
 *   disk.is_admitting   a mirror stream is being admitted: it alone uses disk.server
 *   disk.streams        streams of the disk that run or are about to; while there are any, the
 *                       server is not stopped
 *   migration.is_closed no further streams are registered
 *   migration.is_taken  a flush, reopen or discard has it: with no streams and none being admitted
 *                       it alone uses the servers */
#pragma once

#include "agent/receiver/image_server.h"
#include "agent/receiver/receiver.h"

#include <pthread.h>
#include <stdatomic.h>

struct received_stream {
    atomic_bool must_end;
    struct received_stream *next;
};

struct received_disk {
    struct spec_disk spec;
    int64_t epoch; /* highest in the journal; streams of others are refused */
    bool is_admitting;
    bool is_flushed;             /* by the last flush, and nothing was received since */
    struct image_server *server; /* NULL: none started */
    struct received_stream *streams;
};

struct received_migration {
    char id[UUID_SIZE];
    char source[UUID_SIZE]; /* the host whose streams are admitted */
    size_t disk_count;
    struct received_disk *disks;
    bool is_closed, is_ended /* discarded: being forgotten */, is_taken;
    unsigned users; /* threads that hold a pointer to it outside of the mutex */
    struct received_migration *next;
};

struct receiver_set {
    pthread_mutex_t mutex;
    pthread_cond_t changed; /* monotonic; anything of the above */
    char *directory, *plugin_path;
    struct journal *journal;
    struct sr_set *srs;
    struct received_migration *first;
};

/* With the mutex held: NULL when it is not admitted, or is being forgotten. */
struct received_migration *receiver_find(struct receiver_set *set, const char *migration);
/* With the mutex held: waits for a change at most until the moment; false when it has passed. */
bool receiver_wait(struct receiver_set *set, int64_t until_ms) must_check;
/* With the mutex held: asks all streams of the disk to end. */
void receiver_end_streams(struct received_disk *disk);
/* Name of the disk's epoch in the journal; the caller frees. */
char *receiver_epoch_name(const char *migration, int disk);
