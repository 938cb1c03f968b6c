/* Settings of transfers. */
#include "agent/journal/database.h"

#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

enum { LIMIT_KNOWN = 1024 }; /* in one poll */

bool journal_put_settings(struct journal *journal, const struct transfer_settings *settings,
                          struct error *err)
{
    bool ok =
        database_begin(journal, err) &&
        database_run(journal, NULL, err,
                     "INSERT INTO setting (migration, version, bandwidth_bytes_per_s,"
                     " is_copy_paused, is_switchover_held) VALUES (?1, ?2, ?3, ?4, ?5)"
                     " ON CONFLICT (migration) DO UPDATE SET version = excluded.version,"
                     " bandwidth_bytes_per_s = excluded.bandwidth_bytes_per_s,"
                     " is_copy_paused = excluded.is_copy_paused,"
                     " is_switchover_held = excluded.is_switchover_held"
                     " WHERE excluded.version > setting.version",
                     "tiiii", settings->migration, settings->version,
                     (int64_t)settings->bandwidth_bytes_per_s, (int64_t)settings->is_copy_paused,
                     (int64_t)settings->is_switchover_held);
    return database_end(journal, ok, err);
}

static bool get(struct journal *journal, const char *migration, struct transfer_settings *out,
                struct error *err)
{
    auto_statement sqlite3_stmt *statement = NULL;
    bool has_row = false;
    if (!database_query(journal, &statement, err,
                        "SELECT version, bandwidth_bytes_per_s, is_copy_paused,"
                        " is_switchover_held FROM setting WHERE migration = ?1",
                        "t", migration) ||
        !database_row(journal, statement, &has_row, err))
        return false;
    if (!has_row)
        return true;
    *out = (struct transfer_settings){
        .version = sqlite3_column_int64(statement, 0),
        .bandwidth_bytes_per_s = (uint64_t)sqlite3_column_int64(statement, 1),
        .is_copy_paused = sqlite3_column_int64(statement, 2) != 0,
        .is_switchover_held = sqlite3_column_int64(statement, 3) != 0,
    };
    memcpy(out->migration, migration, strnlen(migration, UUID_SIZE - 1));
    return true;
}

bool journal_get_settings(struct journal *journal, const char *migration,
                          struct transfer_settings *settings, struct error *err)
{
    struct transfer_settings found = *settings;
    found.version = 0;
    bool ok = database_begin(journal, err) && get(journal, migration, &found, err);
    if (!database_end(journal, ok, err))
        return false;
    *settings = found;
    return true;
}

static bool list(struct journal *journal, struct json_array *out, struct error *err)
{
    auto_statement sqlite3_stmt *statement = NULL;
    bool has_row = false;
    if (!database_query(journal, &statement, err,
                        "SELECT migration, version FROM setting ORDER BY migration LIMIT ?1", "i",
                        (int64_t)LIMIT_KNOWN))
        return false;
    for (;;) {
        if (!database_row(journal, statement, &has_row, err))
            return false;
        if (!has_row)
            return true;
        struct settings_known *items = memory_resize(out->items, out->count + 1, sizeof *items);
        out->items = items;
        struct settings_known *known = &items[out->count++];
        *known = (struct settings_known){.version = sqlite3_column_int64(statement, 1)};
        database_copy(statement, 0, known->migration, sizeof known->migration);
    }
}

bool journal_settings_known(struct journal *journal, struct json_array *out, struct error *err)
{
    struct json_array found = {0};
    bool ok = database_begin(journal, err) && list(journal, &found, err);
    if (!database_end(journal, ok, err)) {
        free(found.items);
        return false;
    }
    *out = found;
    return true;
}
