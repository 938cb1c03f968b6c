/* The command line: crosspool-coordinator COMMAND --config FILE [...]. */
#pragma once

#include "base/error.h"

struct options {
    const char
        *command; /* "run", "migrate", "init", "token create", "token revoke", "host revoke" */
    const char *config;
    const char *name, *role;
};

/* ERROR_INVALID says what is missing or unknown; the words stay argv's. */
bool options_parse(struct options *options, int argc, char **argv, struct error *err) must_check;
extern const char options_usage[];
