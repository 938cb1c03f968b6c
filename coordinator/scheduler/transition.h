/* The one door through which a migration changes its state. */
#pragma once

#include "coordinator/store/migration_store.h"

/* Inside a transaction that holds the row's lock: applies the event with everything that belongs to
 * it (steps, effects, wake-ups). `why`: the error behind a failure, or NULL. Updates *row.
 * ERROR_CONFLICT when the state does not take the event. */
bool transition_apply(struct db *db, struct migration_row *row, enum migration_event event,
                      const struct error *why, struct error *err) must_check;

/* The same as a transaction of its own: locks the row, applies the event, commits. */
bool migration_apply_event(struct db *db, const char *id, enum migration_event event,
                           const struct error *why, struct error *err) must_check;

/* Runs `work` between BEGIN and COMMIT, again from the start after a deadlock or serialization
 * failure. Nothing is changed when it returns false. */
typedef bool transaction_work(struct db *db, void *context, struct error *err);
bool transaction_run(struct db *db, transaction_work *work, void *context,
                     struct error *err) must_check;
