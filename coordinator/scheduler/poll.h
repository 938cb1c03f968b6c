/* Answers the polls of agents; those that threads bring at the same time together. */
#pragma once

#include "coordinator/store/step_poll.h"

/* Fills poll->answer. A host that is silent for lost_after_s counts as lost. The caller holds no
 * connection of the pool: it may wait for threads that need one. */
bool poll_answer(struct db_pool *pool, struct step_poll *poll, int lost_after_s,
                 struct error *err) must_check;
