/* Snapshot, mirror and copy of a running domain's disks: from "nothing" to "every disk is mirrored
 * synchronously and copied", and from there to "mirrors ended, destination identical" (drain) or to
 * "as if nothing had been" (abort). One object per migration at its source; it survives cuts of the
 * network by itself with new mirror epochs. */
#pragma once

#include "agent/hypervisor/hypervisor.h"
#include "agent/journal/journal.h"
#include "agent/link/link.h"
#include "protocol/agent_api.h"
#include "protocol/progress.h"
#include "protocol/spec.h"

struct transfer;

struct transfer_environment {
    const struct hypervisor_driver *driver;
    struct hypervisor *hypervisor;
    struct journal *journal;
    const char *run_directory;   /* sockets, logs: gone after a boot */
    const char *state_directory; /* chunk maps: durable */
    const struct link_files *files;
    int peer_retry_limit_ms; /* how long an unreachable peer is retried before run fails */
};

bool transfer_open(struct transfer **out, const struct transfer_environment *environment,
                   const struct migration_spec *spec, struct error *err) must_check;
/* Blocks until all disks are mirrored and copied and the switch-over is not held (true), or fails:
 * ERROR_CANCELLED after transfer_cancel, ERROR_UNREACHABLE when the peer stayed away,
 * ERROR_NO_SPACE when the destination is full, ERROR_GUEST_ENDED with what the guest did, others as
 * they come. After a failure the guest runs on; abort is still needed. Safe to call again, also in
 * a new process after a restart: it finds what is there and goes on. */
bool transfer_run(struct transfer *transfer, struct error *err) must_check;
void transfer_cancel(struct transfer *transfer); /* any thread */
/* Cheap check without touching the guest: do all mirrors still run? ERROR_MIRROR_LOST. */
bool transfer_is_mirrored(struct transfer *transfer, struct error *err) must_check;
/* The guest is suspended: for each disk checks len == offset, ends the mirror, waits for its
 * completion without an error, removes the target node. Within timeout_ms in all. After success the
 * destination has every write. On failure ERROR_MIRROR_LOST: do not hand off. */
bool transfer_drain(struct transfer *transfer, int timeout_ms, struct error *err) must_check;
/* Removes every trace: mirrors (with the guest stopped for a moment), bitmaps, nodes, readers,
 * chunk maps, ledger entries. Works whether the domain runs, is suspended, or is gone. Safe to
 * repeat. */
bool transfer_abort(struct transfer *transfer, struct error *err) must_check;
/* After a commit: only what is outside the domain's QEMU, which is about to be destroyed. */
bool transfer_finish(struct transfer *transfer, struct error *err) must_check;
/* From now on the copy goes so fast, rests, and the run goes on after the last byte. Those of a
 * lower version than the latest are left out; any thread. */
void transfer_set(struct transfer *transfer, const struct transfer_settings *settings);
/* Fills phase and disks; the caller releases with migration_progress_fields. */
void transfer_progress(struct transfer *transfer, struct migration_progress *out);
void transfer_close(struct transfer *transfer);
