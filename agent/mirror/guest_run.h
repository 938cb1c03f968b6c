/* The run of the guest that a migration moves. Mirrors and dirty bitmaps live in the QEMU of one
 * run; a guest that rebooted, as another domain of the same UUID, has none of them, and what was
 * copied is of no use to it. So the first run that the migration meets is written into the ledger,
 * and no other is ever taken for it, also not after the agent was restarted. */
#pragma once

#include "agent/mirror/guest_stop.h"

/* Makes the guest's present run the migration's, unless it has one; then as guest_run_check. */
bool guest_run_pin(const struct guest *guest, struct error *err) must_check;
/* ERROR_GUEST_ENDED, with what the guest did, when the migration's run is over. True where no run
 * is pinned or the driver knows of none. */
bool guest_run_check(const struct guest *guest, struct error *err) must_check;
/* Is the domain of that UUID still that of the migration's run, whatever its guest does?
 * ERROR_GUEST_ENDED when not. True where no run is pinned. */
bool guest_run_is_here(const struct guest *guest, struct error *err) must_check;
/* The migration is about to end here: it has no run any more. */
bool guest_run_forget(const struct guest *guest, struct error *err) must_check;
/* Why something failed: when the guest has ended that is the reason, and *why becomes it. */
void guest_run_explain(const struct guest *guest, struct error *why);
