/* The processes that serve one received image: nbdkit with our plugin on a unix socket, and for
 * qcow2 and VHD a qemu-storage-daemon behind it. Their files are <directory>/<migration>-<disk>.*;
 * each process and socket is in the ledger from before it is made until it is gone. */
#pragma once

#include "agent/journal/journal.h"
#include "protocol/vocabulary.h"

struct image_server;

struct image_server_config {
    struct journal *journal;
    const char *directory; /* of sockets and logs */
    const char *plugin_path;
    const char *migration;
    int disk;
    const char *path; /* of the image */
    enum image_format format;
    uint64_t size_bytes;  /* that it must have */
    int64_t lowest_epoch; /* mirror epochs below it are not admitted */
};
/* Returns when the socket accepts connections. On failure nothing of it is left. */
bool image_server_start(struct image_server **out, const struct image_server_config *config,
                        struct error *err) must_check;
bool image_server_is_alive(struct image_server *server);
/* A connection that speaks NBD. */
bool image_server_connect(const struct image_server *server, int *fd, struct error *err) must_check;
/* What was written in this epoch is on stable storage; ERROR_MIRROR_LOST when it cannot be because
 * the server died or the epoch is not the one that is mirrored, ERROR_NO_SPACE when a write of the
 * epoch found the storage full. */
bool image_server_flush(const struct image_server *server, int64_t epoch,
                        struct error *err) must_check;
/* Ends the processes, removes the sockets and their ledger entries. The server is gone afterwards,
 * whatever is returned; entries that could not be removed are left to image_server_clean. NULL is
 * fine. */
bool image_server_stop(struct image_server *server, struct error *err) must_check;
/* Removes files and ledger entries that servers of this migration left, also of an earlier agent
 * process (its children died with it). None of them may run. */
bool image_server_clean(struct journal *journal, const char *directory, const char *migration,
                        struct error *err) must_check;
