/* The CPU that every host of a pool can give a guest, type by type: a VM that is told no more than
 * that can move to any of them. Pure. */
#pragma once

#include "base/json.h"
#include "protocol/vocabulary.h"

/* What one host says of one type of guest. */
struct pool_cpu_report {
    char vendor[33];
    char type[9];
    char features[LIMIT_FEATURES + 1]; /* "" = no limit, or not told */
};

struct pool_cpu_type {
    char type[9];
    int hosts;                         /* that run it */
    bool is_common;                    /* all hosts that told of themselves run it and agree */
    char features[LIMIT_FEATURES + 1]; /* is_common: what they have in common; "" = no limit */
    char why_not[160];                 /* is_common false: the reason */
};
extern const struct json_field pool_cpu_type_fields[];

/* `hosts`: how many told of themselves. *types (owned) in order of their first report. */
size_t pool_cpu_types(const struct pool_cpu_report *reports, size_t count, int hosts,
                      struct pool_cpu_type **types);
