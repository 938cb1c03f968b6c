/* What the polls of agents are answered. */
#pragma once

#include "coordinator/db/db.h"
#include "protocol/agent_api.h"

/* Of one host: live steps that are due and not in `known`, those of `known` to stop that are not in
 * `cancelling`, and settings that are newer than the host's. */
struct step_poll {
    const char *host;
    const struct agent_poll *poll;
    struct agent_poll_answer answer; /* free with agent_poll_answer_fields */
};

/* Marks the known steps as running and the hosts, which count as lost after lost_after_s of
 * silence, as seen, and answers all polls or, when it fails, none. */
bool step_poll_answer(struct db *db, struct step_poll *const polls[], size_t count,
                      int lost_after_s, struct error *err) must_check;
