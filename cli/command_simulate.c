#include "cli/commands.h"
bool command_simulate(const struct options *options, bool *is_whole, struct error *err)
{ (void)options; (void)is_whole; return error_set(err, ERROR_UNSUPPORTED, "no"); }
