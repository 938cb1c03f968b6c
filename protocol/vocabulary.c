/* The shared words; see vocabulary.h. */
#include "protocol/vocabulary.h"

#include <stddef.h>

const char *const image_format_names[] = {
    [IMAGE_RAW] = "raw", [IMAGE_QCOW2] = "qcow2", [IMAGE_VHD] = "vhd", NULL};

const char *const domain_state_names[] = {
    [DOMAIN_RUNNING] = "running", [DOMAIN_PAUSED] = "paused", [DOMAIN_SHUTDOWN] = "shutdown",
    [DOMAIN_CRASHED] = "crashed", [DOMAIN_HALTED] = "halted", NULL};

const char *const migration_role_names[] = {
    [ROLE_SOURCE] = "source", [ROLE_DESTINATION] = "destination", NULL};

const char *const migration_mode_names[] = {[MODE_LIVE] = "live", [MODE_SUSPEND] = "suspend", NULL};

const char *const handoff_verdict_names[] = {
    [VERDICT_NONE] = "none", [VERDICT_OWNED] = "owned", [VERDICT_ABANDONED] = "abandoned", NULL};

const char *const migration_phase_names[] = {
    [PHASE_WAITING] = "waiting",   [PHASE_PREPARING] = "preparing", [PHASE_COPYING] = "copying",
    [PHASE_MIRRORED] = "mirrored", [PHASE_STALLED] = "stalled",     [PHASE_MEMORY] = "memory",
    [PHASE_PAUSED] = "paused",     [PHASE_RELEASED] = "released",   [PHASE_CLEANING] = "cleaning",
    [PHASE_ABORTING] = "aborting", [PHASE_DONE] = "done",           NULL};
