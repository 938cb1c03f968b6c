/* The input of a plan, from its two files. */
#pragma once

#include "plan/plan_input.h"

#include "base/error.h"

bool documents_read(const char *inventory, const char *request, struct plan_input *input,
                    struct error *err) must_check;
