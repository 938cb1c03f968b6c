/* The words both sides share, each list written once: enum, text and limits side by side. */
#pragma once

#include "base/uuid.h"

#include <stdbool.h>
#include <stdint.h>

enum image_format { IMAGE_RAW, IMAGE_QCOW2, IMAGE_VHD };
extern const char *const image_format_names[]; /* "raw", "qcow2", "vhd", NULL */

enum domain_state { DOMAIN_RUNNING, DOMAIN_PAUSED, DOMAIN_SHUTDOWN, DOMAIN_CRASHED, DOMAIN_HALTED };
extern const char *const domain_state_names[];

enum migration_role { ROLE_SOURCE, ROLE_DESTINATION };
extern const char *const migration_role_names[]; /* "source", "destination" */

/* live: memory is sent while the guest runs, and it pauses for the rest. suspend: it pauses for all
 * of its memory; for guests that no host can track the writes of. */
enum migration_mode { MODE_LIVE, MODE_SUSPEND };
extern const char *const migration_mode_names[]; /* "live", "suspend" */

/* What the destination durably decided about one handoff epoch; see docs/handoff.md. */
enum handoff_verdict { VERDICT_NONE, VERDICT_OWNED, VERDICT_ABANDONED };
extern const char *const handoff_verdict_names[]; /* "none", "owned", "abandoned" */

/* What a migration is doing, as a person reads it in its progress. */
enum migration_phase {
    PHASE_WAITING,
    PHASE_PREPARING,
    PHASE_COPYING,  /* mirrors run, the background copy goes on */
    PHASE_MIRRORED, /* every disk is copied and mirrored */
    PHASE_STALLED,  /* the peer does not answer; the guest runs unmirrored, resuming */
    PHASE_MEMORY,   /* live memory passes */
    PHASE_PAUSED,   /* the guest is suspended for the switch */
    PHASE_RELEASED, /* past the point of no return, waiting for the destination */
    PHASE_CLEANING,
    PHASE_ABORTING,
    PHASE_DONE,
};
extern const char *const migration_phase_names[];

enum {
    LIMIT_NAME = 128, /* bytes of a name, without NUL */
    LIMIT_PATH = 1024,
    LIMIT_DISKS = 64,         /* per VM */
    LIMIT_VIFS = 16,          /* per VM */
    LIMIT_DOMAINS = 1024,     /* per host */
    LIMIT_SRS = 64,           /* per host */
    LIMIT_VDIS = 16384,       /* per SR in one inventory */
    LIMIT_NETWORKS = 256,     /* per host */
    LIMIT_LINKS = 16,         /* per host, besides its first one */
    LIMIT_GUEST_TYPES = 8,    /* per host */
    LIMIT_FEATURES = 1000,    /* bytes of CPU features as text; see cpu_features.h */
    LIMIT_MESSAGE = 16 << 20, /* bytes of one agent message */
    LIMIT_BODY = 1 << 20,     /* bytes of one API request body */
};
#define LIMIT_SIZE_BYTES (INT64_C(64) << 40)      /* of a disk: 64 TiB */
#define LIMIT_CLOCK_MS   INT64_C(253402300799999) /* the end of the year 9999 */
