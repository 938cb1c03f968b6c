/* Applies what an agent reports. */
#pragma once

#include "coordinator/db/db.h"
#include "protocol/agent_api.h"

/* Keeps how far the host's clock is ahead of ours, and logs when it is too far. */
bool report_clock(struct db *db, const char *host, int64_t offset_ms, struct error *err) must_check;

/* True: all of the report is durable. False: nothing of it is lost, because the agent sends it
 * again, and whatever was applied already is recognized. */
bool report_apply(struct db *db, const char *host, int lost_after_s,
                  const struct agent_report *report, struct error *err) must_check;
