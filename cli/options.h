/* The command line: crosspool COMMAND --inventory FILE --request FILE [...]. */
#pragma once

#include "base/error.h"

struct options {
    const char *command; /* "plan", "simulate" */
    const char *inventory, *request;
    const char *actual; /* simulate: the inventory as it turns out to be; NULL = as planned */
    int cap;            /* simulate: moves at once of the policy to compare with */
    bool is_json;
};

/* ERROR_INVALID says what is missing or unknown; the words stay argv's. */
bool options_parse(struct options *options, int argc, char **argv, struct error *err) must_check;
extern const char options_usage[];
