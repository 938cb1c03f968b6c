/* Receivers of the destination: per disk one nbdkit with our plugin on a unix socket, with exports
 * mirror.N and copy.N for mirror epoch N; raw images are written directly, qcow2 and VHD through a
 * qemu-storage-daemon. A receiver is started when the first stream of an epoch comes and restarted
 * when it has died; mirror epochs strictly increase, over restarts of the agent too (journal). */
#pragma once

#include "agent/journal/journal.h"
#include "agent/link/link.h"
#include "agent/storage/sr.h"
#include "protocol/spec.h"

struct receiver_set;

struct receiver_config {
    const char *run_directory; /* sockets, logs */
    const char *plugin_path;   /* nbdkit-crosspool-plugin.so */
    struct journal *journal;
    struct sr_set *srs;
};
bool receiver_set_open(struct receiver_set **out, const struct receiver_config *config,
                       struct error *err) must_check;
void receiver_set_close(struct receiver_set *set); /* stops all */

/* Admits the disks of a migration (after prepare, and at restart). Safe to repeat. */
bool receiver_admit(struct receiver_set *set, const struct migration_spec *spec,
                    struct error *err) must_check;
/* Serves one MIRROR or COPY stream until it ends: makes sure that the receiver runs, connects,
 * accepts or refuses the stream, splices. Takes the stream over. Called on the stream's thread.
 * A MIRROR stream of a new epoch first waits for older streams of the disk to be closed. */
void receiver_serve(struct receiver_set *set, struct link_stream *stream, const char *peer_host,
                    const struct link_hello *hello);
/* The handoff is near: all streams must have ended; flushes every image, stops the receivers, and
 * refuses streams of this migration from now on until `receiver_reopen`. Durable on return. */
bool receiver_flush_and_close(struct receiver_set *set, const char *migration,
                              struct error *err) must_check;
/* A handoff that did not commit: streams are accepted again (their epochs still only grow). */
bool receiver_reopen(struct receiver_set *set, const char *migration, struct error *err) must_check;
/* Ends the migration's streams and receivers at once, without flush; forgets it. */
bool receiver_discard(struct receiver_set *set, const char *migration,
                      struct error *err) must_check;
