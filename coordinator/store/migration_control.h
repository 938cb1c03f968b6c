/* What people and clocks change of a migration beside its state: pause, priority, speed, the hold
 * of its switch-over, retries. Every change of what the source's agent is told raises
 * settings_version.
 */
#pragma once

#include "coordinator/store/migration_store.h"

/* A change of a policy: what is not set stays. */
struct policy_change {
    bool has_priority, has_bandwidth, has_retries, has_stall_timeout, has_switchover, has_network;
    struct migration_policy policy;
};

bool migration_control_set_switchover(struct db *db, const char *id,
                                      const struct switchover *switchover,
                                      struct error *err) must_check;
/* All but the switch-over. */
bool migration_control_change(struct db *db, const char *id, const struct policy_change *change,
                              struct error *err) must_check;
bool migration_control_pause(struct db *db, const char *id, bool is_paused,
                             struct error *err) must_check;
/* From now on nothing holds the switch-over. */
bool migration_control_let_switch(struct db *db, const char *id, struct error *err) must_check;

/* Queued again, one retry less: rests, says why, and forgets the failure and its progress. */
bool migration_control_retry(struct db *db, const char *id, struct error *err) must_check;
bool migration_control_no_retry(struct db *db, const char *id, struct error *err) must_check;

/* Brings the holds of windows to what the clock says now. *rows has a column `source_host_id` for
 * each that changed. */
bool migration_control_windows(struct db *db, struct db_rows **rows, struct error *err) must_check;
/* Ids of migrations whose copy has not moved for longer than their timeout, though it is not paused
 * and its source reports. Columns `id`, `stall_timeout_s`. */
bool migration_control_stalled(struct db *db, struct db_rows **rows, struct error *err) must_check;
/* Migrations of this source whose progress says that a held one is mirrored or a ready one is not.
 * Columns `id`, `is_mirrored`. */
bool migration_control_mirror_news(struct db *db, const char *host, struct db_rows **rows,
                                   struct error *err) must_check;
