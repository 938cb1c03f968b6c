/* What each command does. They read files and write standard output, nothing else. */
#pragma once

#include "base/error.h"

struct options;

/* `*is_whole`: everything that was asked for is in the plan, in time. */
bool command_plan(const struct options *options, bool *is_whole, struct error *err) must_check;
bool command_simulate(const struct options *options, bool *is_whole, struct error *err) must_check;
