/* Evacuations: made, controlled, brought back; and carried out, by the sweep of whichever
 * coordinator gets the row's lock. All that is known of one is in its rows, and a VM's migration is
 * made in the transaction that writes its id there, so a death anywhere neither loses nor doubles a
 * move. */
#pragma once

#include "coordinator/scheduler/evacuation_plan.h"
#include "coordinator/store/evacuation_store.h"

struct evacuation_maker {
    const char *scope; /* as of page->scope */
    const char *created_by;
    int host_lost_after_s;
    bool is_rollback; /* the coordinator brings back by itself */
};

/* Plans, and unless nothing at all can move (*planned 0 though VMs are wanted, *id "") writes the
 * evacuation. The caller keeps `planning` for its JSON. `request` holds ids alone. Inside the
 * caller's transaction. */
bool evacuation_create(struct db *db, const struct evacuation_maker *maker,
                       const struct evacuation_request *request, struct evacuation_planning *out,
                       char id[UUID_SIZE], struct error *err) must_check;
/* Writes a plan of which evacuation_create has made nothing. */
bool evacuation_insert(struct db *db, const struct evacuation_planning *planning,
                       char id[UUID_SIZE], struct error *err) must_check;
/* Brings VMs back to where `of` took them from: those in `vms` (char *: ids as in it, or names), or
 * all when that is empty. *id "": none of them is there, or can move. ERROR_CONFLICT while `of`
 * goes on, or is rolled back. */
bool evacuation_return(struct db *db, const struct evacuation_maker *maker, const char *of,
                       const struct json_array *vms, struct evacuation_planning *out,
                       char id[UUID_SIZE], struct error *err) must_check;

/* ERROR_CONFLICT says why its state does not take it. */
bool evacuation_pause(struct db *db, const char *id, bool is_paused, struct error *err) must_check;
bool evacuation_cancel(struct db *db, const char *id, struct error *err) must_check;
bool evacuation_retry(struct db *db, const char *id, const char *vm, struct error *err) must_check;

/* evacuation_run.c: everything that is due of all evacuations. One that fails is logged. */
bool evacuation_run(struct db *db, int host_lost_after_s, struct error *err) must_check;
