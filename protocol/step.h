/* Steps: what the coordinator asks an agent to do. All have one shape; a step is identified by its
 * id, delivered at least once, and done once by the agent's journal.
 *
 *   STEP(symbol, word, role that runs it, what it does) */
#pragma once

#include "protocol/spec.h"

#define STEP_LIST(STEP)                                                                            \
    STEP(PREPARE, "prepare", ROLE_DESTINATION, "create the VDIs, be ready to receive")             \
    STEP(TRANSFER, "transfer", ROLE_SOURCE,                                                        \
         "mirror and copy every disk; ends when all are mirrored")                                 \
    STEP(RECEIVE, "receive", ROLE_DESTINATION,                                                     \
         "accept the handoff of this epoch; ends with its verdict")                                \
    STEP(HANDOFF, "handoff", ROLE_SOURCE, "hand the running domain over; ends committed or not")   \
    STEP(CONCLUDE, "conclude", ROLE_SOURCE, "tell a released source the destination's verdict")    \
    STEP(ABORT_SOURCE, "abort-source", ROLE_SOURCE, "end the mirrors, remove every trace")         \
    STEP(ABORT_DESTINATION, "abort-destination", ROLE_DESTINATION,                                 \
         "abandon, delete VDIs and domain")                                                        \
    STEP(CLEAN_SOURCE, "clean-source", ROLE_SOURCE, "destroy the moved domain, delete its disks")  \
    STEP(CLEAN_DESTINATION, "clean-destination", ROLE_DESTINATION,                                 \
         "stop receivers, forget the move")

enum step_kind {
#define STEP(symbol, word, role, what) STEP_##symbol,
    STEP_LIST(STEP)
#undef STEP
};
extern const char *const step_kind_names[]; /* NULL-terminated */
enum migration_role step_role(enum step_kind kind);

struct step {
    char id[UUID_SIZE];
    enum step_kind kind;
    int64_t epoch;                /* handoff epoch (1, 2, ...); 0 for steps outside a handoff */
    enum handoff_verdict verdict; /* CONCLUDE, CLEAN_SOURCE (always owned): the destination's */
    struct migration_spec spec;
};
extern const struct json_field step_fields[];

/* How a step ended. */
struct step_result {
    char step[UUID_SIZE];
    bool is_done;          /* true: did what it says; false: error_* say why not */
    enum error_code error; /* is_done == false */
    char error_text[256];
    enum handoff_verdict verdict; /* RECEIVE; HANDOFF: OWNED = committed, ABANDONED = source runs */
    int64_t pause_us;             /* HANDOFF committed: the measured pause, else 0 */
};
extern const struct json_field step_result_fields[];
