/* The mirror job of one disk and its target node in QEMU. The job keeps its result until it is
 * dismissed, so that its end is never missed.
 *
 * While the guest may write, a mirror job must not be cancelled hard: that corrupts QEMU's heap.
 * mirror_job_kill is for a stopped guest only; otherwise close the target's socket and let the job
 * fail. */
#pragma once

#include "agent/mirror/monitor.h"

enum { MIRROR_NODE_SIZE = 32 }; /* QEMU's limit for node names, with NUL */

/* Names in QEMU of what belongs to one disk of one migration. */
struct mirror_names {
    char job[MIRROR_NODE_SIZE];
    char target[MIRROR_NODE_SIZE];
    char filter[MIRROR_NODE_SIZE];
    char scratch[MIRROR_NODE_SIZE]; /* null-co node that carries a merged bitmap */
    char bitmap[MIRROR_NODE_SIZE];  /* prefix; the mirror epoch follows */
};
void mirror_names_derive(struct mirror_names *names, const char *migration, int disk);

struct mirror_job {
    bool exists;
    bool is_ready;
    bool is_in_sync;    /* ready, and nothing is left to be written */
    bool has_concluded; /* ended; it still has to be dismissed */
    char failure[200];  /* why it ended; "" = well */
};
bool mirror_job_query(struct monitor *monitor, const struct mirror_names *names,
                      struct mirror_job *out, struct error *err) must_check;
bool mirror_job_add_target(struct monitor *monitor, const struct mirror_names *names,
                           const char *socket_path, const char *export_name,
                           struct error *err) must_check;
bool mirror_job_start(struct monitor *monitor, const struct mirror_names *names, const char *node,
                      struct error *err) must_check;
/* Polls until it is ready, has ended (false with its reason) or the time is over. */
bool mirror_job_wait_ready(struct monitor *monitor, const struct mirror_names *names,
                           int timeout_ms, struct error *err) must_check;
bool mirror_job_wait_concluded(struct monitor *monitor, const struct mirror_names *names,
                               int timeout_ms, struct mirror_job *out,
                               struct error *err) must_check;
/* Asks a ready job to end when all is written; the answer is its conclusion. */
bool mirror_job_complete(struct monitor *monitor, const struct mirror_names *names,
                         struct error *err) must_check;
/* Guest stopped: ends the job whatever its state, and dismisses it. Absent is fine. */
bool mirror_job_kill(struct monitor *monitor, const struct mirror_names *names,
                     struct error *err) must_check;
bool mirror_job_dismiss(struct monitor *monitor, const struct mirror_names *names,
                        struct error *err) must_check;
/* Absent is fine. */
bool mirror_job_remove_target(struct monitor *monitor, const struct mirror_names *names,
                              struct error *err) must_check;
/* NO_SPACE or MIRROR_LOST from the job's reason. */
bool mirror_job_failure(const struct mirror_job *job, struct error *err);
