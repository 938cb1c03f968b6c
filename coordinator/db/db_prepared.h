/* Which statements of one connection PostgreSQL has parsed and planned already, inside
 * coordinator/db only. A statement that is used a second time on a connection is prepared there:
 * for the short ones of a poll or a report the parsing and planning is most of their work. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct db_prepared;

struct db_prepared *db_prepared_new(void);
/* The names end with the connection. NULL is fine. */
void db_prepared_free(struct db_prepared *prepared);

struct db_prepared_use {
    const char *name;   /* NULL: send the text itself */
    bool is_to_prepare; /* under this name, before its first use */
    size_t place;
};
struct db_prepared_use db_prepared_find(struct db_prepared *prepared, const char *sql);
/* PostgreSQL has it under its name now. */
void db_prepared_keep(struct db_prepared *prepared, const struct db_prepared_use *use);
