/* What an operator does to a migration beside cancelling it. Each call is one transaction under the
 * row's lock; the source's agent learns of it with its next poll. ERROR_CONFLICT says why the state
 * does not take it. */
#pragma once

#include "coordinator/store/migration_control.h"

bool control_pause(struct db *db, const char *id, bool is_paused, struct error *err) must_check;
bool control_switch_over(struct db *db, const char *id, struct error *err) must_check;
/* Priority and bandwidth also while it runs, the rest only while it is queued. */
bool control_change(struct db *db, const char *id, const struct policy_change *change,
                    struct error *err) must_check;
