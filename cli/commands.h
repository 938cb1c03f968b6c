/* What each command does. plan and simulate read files and write standard output, nothing else;
 * login writes its file; the others talk to the coordinator. */
#pragma once

#include "base/error.h"

struct options;

/* `*is_whole`: everything that was asked for can be, or was, done, in time. */
bool command_plan(const struct options *options, bool *is_whole, struct error *err) must_check;
bool command_simulate(const struct options *options, bool *is_whole, struct error *err) must_check;
bool command_login(const struct options *options, bool *is_whole, struct error *err) must_check;
bool command_list(const struct options *options, bool *is_whole, struct error *err) must_check;
bool command_migrate(const struct options *options, bool *is_whole, struct error *err) must_check;
bool command_evacuate(const struct options *options, bool *is_whole, struct error *err) must_check;
bool command_watch(const struct options *options, bool *is_whole, struct error *err) must_check;
