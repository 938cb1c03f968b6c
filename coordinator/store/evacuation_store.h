/* The tables evacuation and evacuation_vm: the only statements that write them. Rows change under
 * the lock of the evacuation's row. */
#pragma once

#include "coordinator/db/db.h"
#include "coordinator/domain/evacuation.h"
#include "coordinator/store/page.h"

/* What carrying it out needs of a row. */
struct evacuation_row {
    char id[UUID_SIZE];
    enum evacuation_state state;
    struct evacuation_request request; /* ids; owned */
    bool has_deadline;
    double deadline_s; /* from now */
    bool is_plan_due;
    double planned_s; /* since the newest plan was made */
    char *created_by; /* owned */
    char *pools;      /* all that it concerns, as of page->scope; owned */
    bool is_return;
};
void evacuation_row_done(struct evacuation_row *row);
static inline void cleanup_evacuation_row(struct evacuation_row *row)
{
    evacuation_row_done(row);
}
#define auto_evacuation_row __attribute__((cleanup(cleanup_evacuation_row)))

/* Locks the row until the transaction ends. ERROR_NOT_FOUND names it and what to do. */
bool evacuation_store_lock(struct db *db, const char *id, struct evacuation_row *row,
                           struct error *err) must_check;
/* A row that somebody else has locked, or that is over, is left out: *is_locked says so. */
bool evacuation_store_try_lock(struct db *db, const char *id, struct evacuation_row *row,
                               bool *is_locked, struct error *err) must_check;
/* Ids of those that are not over, the oldest first. Column `id`. */
bool evacuation_store_active(struct db *db, struct db_rows **rows, struct error *err) must_check;

/* JSON texts. `request` with ids; `vms` is an array of one object for each VM, with the members
 * vm, host (of the emptied VM's destination or null), via, is_fixed, priority, strategy, state,
 * start_s, end_s (from now; null = not planned), bytes, pause_ms, reasons, mapping. */
struct evacuation_new {
    const char *id, *request, *plan, *vms, *created_by;
    const char *return_of; /* NULL = it empties hosts */
    bool keeps_open;       /* emptied hosts are not put into maintenance */
};
/* ERROR_CONFLICT when a VM is part of another one. */
bool evacuation_store_insert(struct db *db, const struct evacuation_new *made,
                             struct error *err) must_check;
/* ERROR_CONFLICT names a VM of the list that is part of an evacuation which is not over. */
bool evacuation_store_check_free(struct db *db, const char *vms, struct error *err) must_check;

bool evacuation_store_set_state(struct db *db, const char *id, enum evacuation_state state,
                                struct error *err) must_check;
bool evacuation_store_want_plan(struct db *db, const char *id, struct error *err) must_check;
/* A newer plan: `vms` as above, of those that wait or move, by vm; of the moving only end_s counts.
 */
bool evacuation_store_replan(struct db *db, const char *id, const char *plan, const char *vms,
                             struct error *err) must_check;

/* Takes over what the migrations of moving VMs have come to. *changed: any ended; *failed: one of
 * them failed for good. */
bool evacuation_store_settle(struct db *db, const char *id, int retries, bool *changed,
                             bool *failed, struct error *err) must_check;
/* What others did to waiting VMs: those with a new object are followed (*changed), those that are
 * gone have no place in the plan, those that were taken elsewhere are skipped. */
bool evacuation_store_follow(struct db *db, const char *id, bool *changed,
                             struct error *err) must_check;
/* Waiting VMs that could not start for `patience_s` fail. */
bool evacuation_store_give_up(struct db *db, const char *id, int patience_s, bool *failed,
                              struct error *err) must_check;
/* Their patience begins anew. */
bool evacuation_store_be_patient(struct db *db, const char *id, struct error *err) must_check;
/* Waiting VMs are not going to move; `why` is the message of their one reason. */
bool evacuation_store_drop_waiting(struct db *db, const char *id, const char *why,
                                   struct error *err) must_check;
/* VMs by what became of them: waiting and moving, moved, exceptions (failed, refused, cancelled);
 * unplanned: waiting ones that the newest plan leaves out; away: not where they came from, moved or
 * stranded on the way. */
struct evacuation_counts {
    int waiting, moving, moved, exceptions, unplanned, away;
};
bool evacuation_store_count(struct db *db, const char *id, struct evacuation_counts *counts,
                            struct error *err) must_check;

/* VMs whose turn it is by the plan: what it has before them on one of their hosts is over, or is
 * held or stuck. `vm`: that one alone, NULL = all. Columns vm_id, current_vm_id, host_id (where to
 * now), pool_id, strategy, priority, mapping. */
bool evacuation_store_due(struct db *db, const char *id, const char *vm, int host_lost_after_s,
                          struct db_rows **rows, struct error *err) must_check;
/* `strategy`: of migration_mode_names. */
bool evacuation_store_begin_move(struct db *db, const char *id, const char *vm,
                                 const char *migration, const char *strategy,
                                 struct error *err) must_check;
/* It cannot start now: `reasons` (JSON) are shown; it is tried again, and planned anew. */
bool evacuation_store_hold(struct db *db, const char *id, const char *vm, const char *reasons,
                           struct error *err) must_check;
/* Migrations that switch over, whoever's, and those of its moving VMs that are held with mirrored
 * disks; in their order. Columns of struct evacuation_switchover, and `id`. */
bool evacuation_store_switchovers(struct db *db, const char *id, int host_lost_after_s,
                                  struct db_rows **rows, struct error *err) must_check;
/* Migrations of its moving VMs that nobody has asked to cancel yet. Column `id`. */
bool evacuation_store_to_cancel(struct db *db, const char *id, struct db_rows **rows,
                                struct error *err) must_check;
/* All VMs. Columns vm_id, current_vm_id, is_open (waits or moves), host_id (destination or NULL),
 * is_fixed, is_moving, is_free (no destination is kept), priority, mapping, and of moving ones
 * copied (JSON array of bytes by disk), rate, at_host_id. */
bool evacuation_store_vms(struct db *db, const char *id, struct db_rows **rows,
                          struct error *err) must_check;

/* Ends the maintenance that it began. */
bool evacuation_store_end_maintenance(struct db *db, const char *id, struct error *err) must_check;
/* How its rollback stands. */
struct evacuation_rollback {
    char id[UUID_SIZE]; /* the return that it made; "" = none yet */
    bool is_over;       /* that return is */
    bool is_due;        /* no return was tried in the last seconds */
    bool is_late;       /* the last move ended more than `patience_s` ago */
};
bool evacuation_store_rollback(struct db *db, const char *id, int patience_s,
                               struct evacuation_rollback *rollback, struct error *err) must_check;
bool evacuation_store_set_rollback(struct db *db, const char *id, const char *return_id,
                                   struct error *err) must_check;
/* None could be made now: VMs that are away say `why`, or each what `vms` (as of evacuation_new, by
 * the objects that they are now) says of it. NULL = not that. */
bool evacuation_store_rollback_failed(struct db *db, const char *id, const char *why,
                                      const char *vms, struct error *err) must_check;
/* What may come back: columns vm_id, current_vm_id, name, source_host_id, mapping, why_not (NULL:
 * nothing). Hosts outside of `scope` are not named. */
bool evacuation_store_returnable(struct db *db, const char *scope, const char *id,
                                 struct db_rows **rows, struct error *err) must_check;
/* A VM that failed, was refused or cancelled waits again, and so the evacuation runs again.
 * ERROR_NOT_FOUND, ERROR_CONFLICT. `vm`: id as when it was made, or name. */
bool evacuation_store_retry(struct db *db, const char *id, const char *vm,
                            struct error *err) must_check;

/* What requests are made of: column `id`; "" when the VM is gone; seconds from now. */
bool evacuation_store_hosts_of(struct db *db, const char *pool, struct db_rows **rows,
                               struct error *err) must_check;
bool evacuation_store_pools(struct db *db, const char *scope, struct db_rows **rows,
                            struct error *err) must_check;
bool evacuation_store_host_of_vm(struct db *db, const char *vm, char host[UUID_SIZE],
                                 struct error *err) must_check;
bool evacuation_store_seconds_to(struct db *db, const char *time, double *seconds,
                                 struct error *err) must_check;

/* Evacuations of pools that are all in the scope, its own parameter. */
extern const struct page_list evacuation_list;
/* Not in `scope`: ERROR_NOT_FOUND. `is_dry_run`: shown as a plan that nobody carries out. */
bool evacuation_store_show(struct db *db, const char *scope, const char *id, bool is_dry_run,
                           char **text, struct error *err) must_check;
