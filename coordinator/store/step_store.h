/* The table step: what agents are asked to do and how it ended. */
#pragma once

#include "coordinator/store/migration_store.h"
#include "protocol/agent_api.h"

struct step_row {
    char id[UUID_SIZE];
    char migration[UUID_SIZE];
    enum step_kind kind;
    int64_t epoch;
    enum handoff_verdict verdict;
    bool is_live; /* queued or running: its result matters */
    int attempt;
};

/* Inserts a step of the migration for the host of its role, at the row's epoch where the kind has
 * one, not to be delivered before delay_s from now, and wakes its host. */
struct step_new {
    enum step_kind kind;
    enum handoff_verdict verdict;
    int attempt;
    int delay_s;
};
bool step_store_insert(struct db *db, const struct migration_row *migration,
                       const struct step_new *made, struct error *err) must_check;
/* A step that a host gives the result of, and the migration that is the step's. */
struct answered_step {
    const char *host, *id;          /* asked for */
    bool is_found;                  /* the host has such a step */
    bool is_locked;                 /* `migration` is read, and nobody else changes it meanwhile */
    struct step_row step;           /* when found; for certain only when locked */
    struct migration_row migration; /* when locked */
};
/* Reads them and locks their migrations until the transaction ends. A migration is locked for the
 * first of its steps only; and without `waits` not when somebody else has locked it, and from then
 * on statements of the transaction wait for locks no longer than a moment. */
bool step_store_lock(struct db *db, struct answered_step *const steps[], size_t count, bool waits,
                     struct error *err) must_check;
/* Only what was asked for is left. */
void answered_step_done(struct answered_step *step);
/* Posts how it ended. */
bool step_store_finish(struct db *db, const struct step_result *result,
                       struct error *err) must_check;
/* All live steps of the migration stop mattering; their hosts are woken to stop them. */
bool step_store_supersede(struct db *db, const struct migration_row *migration,
                          struct error *err) must_check;
/* Asks the agent to end the live step of this kind early. */
bool step_store_ask_cancel(struct db *db, const struct migration_row *migration,
                           enum step_kind kind, struct error *err) must_check;

/* A step of this kind that rests is delivered now. */
bool step_store_hasten(struct db *db, const struct migration_row *migration, enum step_kind kind,
                       struct error *err) must_check;
/* The host's parked polls look again when the transaction commits. */
void step_store_wake(struct db *db, const char *host);

/* Which of the two ends have finished aborting, since it was prepared last. */
bool step_store_aborted(struct db *db, const char *migration, bool *source, bool *destination,
                        struct error *err) must_check;
bool step_store_is_live(struct db *db, const char *migration, enum step_kind kind, bool *is_live,
                        struct error *err) must_check;
/* How the destination's part of this epoch failed; *has_failed false when it did not. */
bool step_store_receive_error(struct db *db, const char *migration, int64_t epoch, bool *has_failed,
                              struct error *why, struct error *err) must_check;

/* Hosts with undelivered steps that are due, with a step to stop, or with settings that were
 * changed a moment ago. Column `host_id`. */
bool step_store_due_hosts(struct db *db, struct db_rows **rows, struct error *err) must_check;
