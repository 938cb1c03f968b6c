/* From the two documents to the planner's input: every name is looked up once. */
#pragma once

#include "plan/plan_input.h"
#include "plan/plan_inventory.h"
#include "plan/plan_request.h"

/* ERROR_INVALID names the document, the JSON pointer and what was expected, such as
 * "inventory /vms/3/host: expected the name of a host, there is no \"a9\"". */
bool plan_resolve(const struct plan_inventory *inventory, const struct plan_request *request,
                  struct plan_input *input, struct error *err) must_check;
