/* JSON objects as lines of a table, and reasons as sentences: for people. */
#pragma once

#include "base/json.h"

enum { TABLE_COLUMNS = 8 };

/* `columns`: paths of members ("source.host_name"), NULL-terminated; the last word is the head. */
void table_print(const json_t *items, const char *const columns[]);
/* Every reason of a problem or of the VMs of an evacuation, on standard error. */
void table_print_reasons(const json_t *answer);
void table_print_json(const json_t *value);
