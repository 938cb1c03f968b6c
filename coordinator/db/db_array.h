/* An array parameter: PostgreSQL's text form of one, grown element by element. {0} is an empty one.
 */
#pragma once

#include <stddef.h>

struct db_array {
    char *text;
    size_t size; /* without the closing brace, which stands behind it */
    size_t capacity;
};

/* NULL = SQL NULL; copied. */
void db_array_add(struct db_array *array, const char *value);
/* Borrowed until the array changes. */
const char *db_array_text(const struct db_array *array);
/* Empty again. */
void db_array_done(struct db_array *array);
#define auto_db_array __attribute__((cleanup(db_array_done)))
