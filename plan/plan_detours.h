/* Where one VM must make way over a third host, more of them may pay: each place there is one more
 * hole that the circle can turn in. */
#pragma once

#include "plan/plan_schedule.h"

/* Adds detours to a model that has some, as long as each makes the first schedule clearly shorter;
 * the model and its schedule are then those with them. */
void plan_detours_add(struct plan_model *model, const struct plan_input *input,
                      struct plan_schedule *schedule);
/* Does any VM make way? */
bool plan_detours_exist(const struct plan_model *model);
