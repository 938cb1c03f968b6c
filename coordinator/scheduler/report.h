/* Applies what an agent reports. */
#pragma once

#include "coordinator/db/db.h"
#include "protocol/agent_api.h"

/* Keeps how far the host's clock is ahead of ours, and logs when it is too far. */
bool report_clock(struct db *db, const char *host, int64_t offset_ms, struct error *err) must_check;

/* All of the report but its results, which come last. True: it is durable. False: nothing of it is
 * lost, because the agent sends it again, and whatever was applied already is recognized. */
bool report_apply(struct db *db, const char *host, int lost_after_s,
                  const struct agent_report *report, struct error *err) must_check;
/* The results. The caller holds no connection of the pool: it may wait for threads that need one.
 */
bool report_apply_results(struct db_pool *pool, const char *host, const struct agent_report *report,
                          struct error *err) must_check;
