/* Applies what hosts say of how their steps ended. */
#pragma once

#include "coordinator/db/db.h"
#include "protocol/agent_api.h"

struct result {
    const char *host;
    const struct step_result *answer;
    int64_t outdated; /* inventories up to this generation were begun before; 0 = none */
};
/* True: durable. A step that is not live (answered before, superseded, of an
 * older epoch) changes nothing. Results that threads bring at the same time share a transaction. */
bool result_apply(struct db_pool *pool, const struct result *result, struct error *err) must_check;
