/* A plan as JSON (docs/planning.md describes it) and as text for people. */
#pragma once

#include "base/json.h"
#include "plan/plan.h"

char *plan_report_json(const struct plan *plan, const struct plan_input *input); /* caller frees */
char *plan_report_text(const struct plan *plan, const struct plan_input *input); /* caller frees */

/* "what host a1 sends", "the memory of host b2": what bounds the plan. */
void plan_report_bottleneck(const struct plan *plan, const struct plan_input *input, char *out,
                            size_t size);
