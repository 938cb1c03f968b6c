/* The command line: crosspool-coordinator COMMAND --config FILE [...]. */
#pragma once

#include "base/error.h"

#include <stddef.h>

enum { OPTIONS_POOLS = 32 };

struct options {
    const char *command; /* as on the command line: "run", "token create" ... */
    const char *config;
    const char *name, *role, *expires_in, *older_than;
    const char *pools[OPTIONS_POOLS]; /* each --pool */
    size_t pool_count;
};

/* ERROR_INVALID says what is missing or unknown; the words stay argv's. */
bool options_parse(struct options *options, int argc, char **argv, struct error *err) must_check;
extern const char options_usage[];
