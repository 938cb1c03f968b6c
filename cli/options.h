/* The command line: crosspool COMMAND [WORD ...] [--option value ...]. */
#pragma once

#include "base/error.h"

enum { OPTIONS_WORDS = 2 };

struct options {
    const char *command; /* one of the table of options.c */
    const char *words[OPTIONS_WORDS];
    int word_count;
    const char *inventory, *request;
    const char *actual; /* simulate: the inventory as it turns out to be; NULL = as planned */
    int cap;            /* simulate: moves at once of the policy to compare with */
    bool is_json;
    bool is_dry_run;
    const char *url, *ca, *token_file; /* login; no token file = standard input */
    const char *vm, *pool, *host, *mapping, *mapping_set; /* migrate */
};

/* ERROR_INVALID says what is missing or unknown; the words stay argv's. */
bool options_parse(struct options *options, int argc, char **argv, struct error *err) must_check;
extern const char options_usage[];
