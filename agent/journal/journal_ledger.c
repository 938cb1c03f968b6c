/* The ledger: what a migration creates at this host, written down before it exists. An entry that
 * is gone stays until the coordinator knows. */
#include "agent/journal/database.h"

#include "base/cleanup.h"
#include "base/memory.h"

#include <string.h>

static bool check_entry(const char *kind, const char *reference, struct error *err)
{
    struct ledger_entry entry;
    if (strlen(kind) < sizeof entry.kind && strlen(reference) < sizeof entry.reference)
        return true;
    return error_set(err, ERROR_INTERNAL, "ledger entry too long: %.32s %.64s", kind, reference);
}

static bool add(struct journal *journal, const char *migration, const char *kind,
                const char *reference, struct error *err)
{
    int64_t sequence = 0;
    return check_entry(kind, reference, err) &&
           database_next_number(journal, "ledger", &sequence, err) &&
           database_run(journal, NULL, err,
                        "INSERT INTO ledger (migration, kind, reference, sequence, is_removed)"
                        " VALUES (?1, ?2, ?3, ?4, 0)"
                        " ON CONFLICT (migration, kind, reference) DO UPDATE"
                        " SET sequence = excluded.sequence, is_removed = 0, is_reported = 0"
                        " WHERE is_removed = 1",
                        "ttti", migration, kind, reference, sequence);
}

bool journal_ledger_add(struct journal *journal, const char *migration, const char *kind,
                        const char *reference, struct error *err)
{
    bool ok = database_begin(journal, err) && add(journal, migration, kind, reference, err);
    return database_end(journal, ok, err);
}

static bool mark_removed(struct journal *journal, const char *migration, const char *kind,
                         const char *reference, struct error *err)
{
    int64_t sequence = 0;
    return database_next_number(journal, "ledger", &sequence, err) &&
           database_run(journal, NULL, err,
                        "UPDATE ledger SET sequence = ?4, is_removed = 1, is_reported = 0"
                        " WHERE migration = ?1 AND kind = ?2 AND reference = ?3 AND is_removed = 0",
                        "ttti", migration, kind, reference, sequence);
}

bool journal_ledger_remove(struct journal *journal, const char *migration, const char *kind,
                           const char *reference, struct error *err)
{
    bool ok =
        database_begin(journal, err) && mark_removed(journal, migration, kind, reference, err);
    return database_end(journal, ok, err);
}

struct entry_list {
    struct ledger_entry *items;
    size_t count;
};

static void drop_entries(struct entry_list *list)
{
    free(list->items);
}
#define auto_entries __attribute__((cleanup(drop_entries))) struct entry_list

static bool collect(struct journal *journal, sqlite3_stmt *statement, struct entry_list *list,
                    struct error *err)
{
    bool has_row = false;
    while (database_row(journal, statement, &has_row, err)) {
        if (!has_row)
            return true;
        list->items = memory_resize(list->items, list->count + 1, sizeof *list->items);
        struct ledger_entry *entry = &list->items[list->count++];
        *entry = (struct ledger_entry){.sequence = sqlite3_column_int64(statement, 0),
                                       .is_removed = sqlite3_column_int(statement, 4) != 0};
        database_copy(statement, 1, entry->migration, sizeof entry->migration);
        database_copy(statement, 2, entry->kind, sizeof entry->kind);
        database_copy(statement, 3, entry->reference, sizeof entry->reference);
    }
    return false;
}

static bool visit(const struct entry_list *list, journal_ledger_fn *fn, void *context,
                  struct error *err)
{
    for (size_t i = 0; i < list->count; i++)
        if (!fn(context, &list->items[i], err))
            return false;
    return true;
}

static bool read_left(struct journal *journal, const char *migration, struct entry_list *list,
                      struct error *err)
{
    auto_statement sqlite3_stmt *statement = NULL;
    return database_query(journal, &statement, err,
                          "SELECT sequence, migration, kind, reference, is_removed FROM ledger"
                          " WHERE is_removed = 0 AND (?1 = '' OR migration = ?1)"
                          " ORDER BY sequence",
                          "t", migration ? migration : "") &&
           collect(journal, statement, list, err);
}

bool journal_each_ledger(struct journal *journal, const char *migration, journal_ledger_fn *fn,
                         void *context, struct error *err)
{
    auto_entries list = {0};
    bool ok = database_begin(journal, err) && read_left(journal, migration, &list, err);
    return database_end(journal, ok, err) && visit(&list, fn, context, err);
}

/* A report holds at most so many entries; the next one takes the rest. */
static bool read_unreported(struct journal *journal, struct entry_list *list, struct error *err)
{
    auto_statement sqlite3_stmt *statement = NULL;
    return database_query(journal, &statement, err,
                          "SELECT sequence, migration, kind, reference, is_removed FROM ledger"
                          " WHERE is_reported = 0 ORDER BY sequence LIMIT 1000",
                          "") &&
           collect(journal, statement, list, err);
}

bool journal_unreported_ledger(struct journal *journal, journal_ledger_fn *fn, void *context,
                               struct error *err)
{
    auto_entries list = {0};
    bool ok = database_begin(journal, err) && read_unreported(journal, &list, err);
    return database_end(journal, ok, err) && visit(&list, fn, context, err);
}

bool journal_ledger_reported(struct journal *journal, int64_t up_to_sequence, struct error *err)
{
    bool ok =
        database_begin(journal, err) &&
        database_run(journal, NULL, err,
                     "DELETE FROM ledger WHERE is_removed = 1 AND sequence <= ?1", "i",
                     up_to_sequence) &&
        database_run(journal, NULL, err, "UPDATE ledger SET is_reported = 1 WHERE sequence <= ?1",
                     "i", up_to_sequence);
    return database_end(journal, ok, err);
}
