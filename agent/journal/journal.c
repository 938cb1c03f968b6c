/* The journal as a whole: open, close, forget a migration. */
#include "agent/journal/database.h"

#include "base/cleanup.h"
#include "base/memory.h"

bool journal_open(struct journal **out, const char *path, struct error *err)
{
    struct journal *journal = memory_alloc(sizeof *journal);
    pthread_mutex_init(&journal->mutex, NULL);
    journal->path = memory_copy_text(path);
    if (!database_open(journal, err)) {
        journal_close(journal);
        return false;
    }
    *out = journal;
    return true;
}

void journal_close(struct journal *journal)
{
    if (!journal)
        return;
    sqlite3_close_v2(journal->db);
    pthread_mutex_destroy(&journal->mutex);
    free(journal->path);
    free(journal);
}

static bool count(struct journal *journal, const char *sql, const char *migration, int64_t *value,
                  struct error *err)
{
    auto_statement sqlite3_stmt *statement = NULL;
    bool has_row = false;
    if (!database_query(journal, &statement, err, sql, "t", migration) ||
        !database_row(journal, statement, &has_row, err))
        return false;
    *value = sqlite3_column_int64(statement, 0);
    return true;
}

/* Nothing may be forgotten that somebody still has to remove or to decide. */
static bool check_ended(struct journal *journal, const char *migration, struct error *err)
{
    static const char left_sql[] =
        "SELECT count(*) FROM ledger WHERE migration = ?1 AND is_removed = 0";
    /* role 0 = source, 1 = destination; see enum migration_role and enum handoff_state */
    static const char undecided_sql[] =
        "SELECT count(*) FROM handoff WHERE migration = ?1"
        " AND ((role = 0 AND state = 3) OR (role = 1 AND state IN (1, 2)))";
    _Static_assert(ROLE_SOURCE == 0 && ROLE_DESTINATION == 1 && HANDOFF_STREAMING == 1 &&
                       HANDOFF_PREPARED == 2 && HANDOFF_RELEASED == 3,
                   "undecided_sql");
    int64_t left = 0;
    int64_t undecided = 0;
    if (!count(journal, left_sql, migration, &left, err) ||
        !count(journal, undecided_sql, migration, &undecided, err))
        return false;
    if (left > 0)
        return error_set(err, ERROR_CONFLICT,
                         "migration %s cannot be forgotten: %lld of its objects are left",
                         migration, (long long)left);
    if (undecided > 0)
        return error_set(err, ERROR_CONFLICT,
                         "migration %s cannot be forgotten: its handoff is not decided", migration);
    return true;
}

/* The destination's verdict stays: a late step or question of this migration must find it
 * (CHECK_VERDICT_NEVER_FORGOTTEN in tests/model). Without the domain it says nothing of who owns
 * that one now. */
static bool forget(struct journal *journal, const char *migration, struct error *err)
{
    return check_ended(journal, migration, err) &&
           database_run(journal, NULL, err, "DELETE FROM handoff WHERE migration = ?1 AND role = 0",
                        "t", migration) &&
           database_run(journal, NULL, err, "UPDATE handoff SET domain = '' WHERE migration = ?1",
                        "t", migration) &&
           database_run(journal, NULL, err,
                        "DELETE FROM number WHERE name LIKE '%/' || ?1 OR name LIKE '%/' || ?1 ||"
                        " '/%'",
                        "t", migration) &&
           database_run(journal, NULL, err, "DELETE FROM setting WHERE migration = ?1", "t",
                        migration) &&
           database_run(journal, NULL, err,
                        "DELETE FROM step WHERE migration = ?1 AND is_reported = 1", "t",
                        migration) &&
           database_run(journal, NULL, err, "UPDATE step SET is_forgotten = 1 WHERE migration = ?1",
                        "t", migration);
}

bool journal_forget(struct journal *journal, const char *migration, struct error *err)
{
    bool ok = database_begin(journal, err) && forget(journal, migration, err);
    return database_end(journal, ok, err);
}
