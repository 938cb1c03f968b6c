/* Numbers that only grow. */
#include "agent/journal/database.h"

#include <inttypes.h>

static bool current(struct journal *journal, const char *name, int64_t *value, struct error *err)
{
    auto_statement sqlite3_stmt *statement = NULL;
    bool has_row = false;
    if (!database_query(journal, &statement, err, "SELECT value FROM number WHERE name = ?1", "t",
                        name) ||
        !database_row(journal, statement, &has_row, err))
        return false;
    *value = has_row ? sqlite3_column_int64(statement, 0) : 0;
    return true;
}

static bool put(struct journal *journal, const char *name, int64_t value, struct error *err)
{
    return database_run(journal, NULL, err,
                        "INSERT INTO number (name, value) VALUES (?1, ?2)"
                        " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                        "ti", name, value);
}

bool database_next_number(struct journal *journal, const char *name, int64_t *value,
                          struct error *err)
{
    int64_t last = 0;
    if (!current(journal, name, &last, err) || !put(journal, name, last + 1, err))
        return false;
    *value = last + 1;
    return true;
}

bool journal_next(struct journal *journal, const char *name, int64_t *value, struct error *err)
{
    int64_t next = 0;
    bool ok = database_begin(journal, err) && database_next_number(journal, name, &next, err);
    if (!database_end(journal, ok, err))
        return false;
    *value = next;
    return true;
}

static bool raise_to(struct journal *journal, const char *name, int64_t value, struct error *err)
{
    int64_t last = 0;
    if (!current(journal, name, &last, err))
        return false;
    if (value <= last)
        return error_set(err, ERROR_REFUSED,
                         "%s: %" PRId64 " is not greater than %" PRId64 ", which was seen already",
                         name, value, last);
    return put(journal, name, value, err);
}

bool journal_raise(struct journal *journal, const char *name, int64_t value, struct error *err)
{
    bool ok = database_begin(journal, err) && raise_to(journal, name, value, err);
    return database_end(journal, ok, err);
}

bool journal_current(struct journal *journal, const char *name, int64_t *value, struct error *err)
{
    int64_t found = 0;
    bool ok = database_begin(journal, err) && current(journal, name, &found, err);
    if (!database_end(journal, ok, err))
        return false;
    *value = found;
    return true;
}
