/* Which VM makes way, and where to, when all moves that are left wait for each other's room. */
#pragma once

#include "plan/plan_engine.h"

/* Of the waiting moves of a stuck schedule: `move` goes to `host` first, which has room for it at
 * that moment. False when there is no such host. */
bool plan_helper_find(const struct plan_model *model, const struct plan_input *input,
                      const struct plan_engine_result *stuck, int *move, int *host);
