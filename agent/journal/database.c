/* The SQLite connection of the journal: opening, schema, transactions, statements. */
#include "agent/journal/database.h"

#include "base/cleanup.h"
#include "base/memory.h"

#include <inttypes.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

enum {
    APPLICATION_ID = 0x43525350, /* "CRSP": a file of ours, see pragma application_id */
    SCHEMA_VERSION = 2,
    BUSY_TIMEOUT_MS = 10000, /* somebody looks at the file with another program */
};

static const char schema[] =
    "CREATE TABLE step ("
    "  id TEXT PRIMARY KEY, migration TEXT NOT NULL, position INTEGER NOT NULL,"
    "  body TEXT NOT NULL,"
    "  result TEXT,"                            /* set when finished */
    "  is_reported INTEGER NOT NULL DEFAULT 0," /* the coordinator has the result */
    "  is_forgotten INTEGER NOT NULL DEFAULT 0" /* its migration ended: goes when reported */
    ") STRICT;"
    "CREATE TABLE handoff ("
    "  migration TEXT NOT NULL, role INTEGER NOT NULL, domain TEXT NOT NULL,"
    "  epoch INTEGER NOT NULL, state INTEGER NOT NULL,"
    "  position INTEGER NOT NULL," /* order of the last changes */
    "  PRIMARY KEY (migration, role)"
    ") STRICT;"
    "CREATE TABLE number (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;"
    "CREATE TABLE ledger ("
    "  migration TEXT NOT NULL, kind TEXT NOT NULL, reference TEXT NOT NULL,"
    "  sequence INTEGER NOT NULL UNIQUE, is_removed INTEGER NOT NULL,"
    "  is_reported INTEGER NOT NULL DEFAULT 0,"
    "  PRIMARY KEY (migration, kind, reference)"
    ") STRICT;";

/* Version 2 adds these to version 1. */
static const char schema_2[] =
    "CREATE TABLE setting ("
    "  migration TEXT PRIMARY KEY, version INTEGER NOT NULL,"
    "  bandwidth_bytes_per_s INTEGER NOT NULL, is_copy_paused INTEGER NOT NULL,"
    "  is_switchover_held INTEGER NOT NULL"
    ") STRICT;";

/* Turns the connection's last error into ours. */
static bool database_error(const struct journal *journal, const char *what, struct error *err)
{
    int code = sqlite3_errcode(journal->db) & 0xff;
    if (code == SQLITE_NOTADB || code == SQLITE_CORRUPT)
        return error_set(err, ERROR_INVALID,
                         "journal %s: the file is damaged or no SQLite database (%s)",
                         journal->path, sqlite3_errmsg(journal->db));
    return error_set(err, code == SQLITE_FULL ? ERROR_NO_SPACE : ERROR_INTERNAL,
                     "journal %s: %s: %s", journal->path, what, sqlite3_errmsg(journal->db));
}

static bool execute(struct journal *journal, const char *sql, struct error *err)
{
    if (sqlite3_exec(journal->db, sql, NULL, NULL, NULL) == SQLITE_OK)
        return true;
    return database_error(journal, "cannot execute", err);
}

/* First column of the first row. */
static bool read_int(struct journal *journal, const char *sql, int64_t *value, struct error *err)
{
    auto_statement sqlite3_stmt *statement = NULL;
    bool has_row = false;
    if (!database_query(journal, &statement, err, sql, "") ||
        !database_row(journal, statement, &has_row, err))
        return false;
    *value = has_row ? sqlite3_column_int64(statement, 0) : 0;
    return true;
}

static bool check_content(struct journal *journal, struct error *err)
{
    auto_statement sqlite3_stmt *statement = NULL;
    bool has_row = false;
    if (!database_query(journal, &statement, err, "PRAGMA quick_check(1)", "") ||
        !database_row(journal, statement, &has_row, err))
        return false;
    if (has_row && strcmp(database_text(statement, 0), "ok") == 0)
        return true;
    return error_set(err, ERROR_INVALID, "journal %s: the file is damaged (%s)", journal->path,
                     has_row ? database_text(statement, 0) : "no answer to quick_check");
}

/* Only reads, so that a foreign file stays as it was. */
static bool identify(struct journal *journal, int64_t *found, struct error *err)
{
    int64_t tables = 0;
    int64_t application = 0;
    int64_t version = 0;
    if (!read_int(journal, "SELECT count(*) FROM sqlite_schema", &tables, err) ||
        !read_int(journal, "PRAGMA application_id", &application, err) ||
        !read_int(journal, "PRAGMA user_version", &version, err))
        return false;
    bool is_empty = tables == 0 && application == 0 && version == 0;
    if (!is_empty && application != APPLICATION_ID)
        return error_set(err, ERROR_INVALID, "journal %s: this SQLite file is not an agent's",
                         journal->path);
    if (version > SCHEMA_VERSION)
        return error_set(err, ERROR_INVALID,
                         "journal %s: schema version %" PRId64
                         " is newer than this agent's %d; install the newer agent",
                         journal->path, version, SCHEMA_VERSION);
    *found = is_empty ? 0 : version;
    return true;
}

/* From the version it has, 0 for an empty file. */
static bool bring_schema(struct journal *journal, int64_t version, struct error *err)
{
    auto_free char *pragmas = memory_format("PRAGMA application_id = %d; PRAGMA user_version = %d;",
                                            APPLICATION_ID, SCHEMA_VERSION);
    if (version == SCHEMA_VERSION)
        return true;
    bool ok = database_begin(journal, err) && (version > 0 || execute(journal, schema, err)) &&
              execute(journal, schema_2, err) && execute(journal, pragmas, err);
    return database_end(journal, ok, err);
}

bool database_open(struct journal *journal, struct error *err)
{
    mode_t old_mask = umask(0077);
    int code =
        sqlite3_open_v2(journal->path, &journal->db,
                        SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
    umask(old_mask);
    if (code != SQLITE_OK)
        return error_set(err, ERROR_INTERNAL, "journal %s: cannot open: %s", journal->path,
                         journal->db ? sqlite3_errmsg(journal->db) : sqlite3_errstr(code));
    sqlite3_busy_timeout(journal->db, BUSY_TIMEOUT_MS);
    int64_t version = 0;
    return check_content(journal, err) && identify(journal, &version, err) &&
           execute(journal, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;", err) &&
           bring_schema(journal, version, err);
}

bool database_begin(struct journal *journal, struct error *err)
{
    pthread_mutex_lock(&journal->mutex);
    return execute(journal, "BEGIN IMMEDIATE", err);
}

bool database_end(struct journal *journal, bool ok, struct error *err)
{
    ok = ok && execute(journal, "COMMIT", err);
    if (!ok && !sqlite3_get_autocommit(journal->db))
        sqlite3_exec(journal->db, "ROLLBACK", NULL, NULL, NULL);
    pthread_mutex_unlock(&journal->mutex);
    return ok;
}

static bool prepare(struct journal *journal, sqlite3_stmt **statement, const char *sql,
                    struct error *err)
{
    return sqlite3_prepare_v2(journal->db, sql, -1, statement, NULL) == SQLITE_OK ||
           database_error(journal, "cannot prepare", err);
}

static bool bind_text(sqlite3_stmt *statement, int parameter, const char *text)
{
    return sqlite3_bind_text(statement, parameter, text, -1, SQLITE_TRANSIENT) == SQLITE_OK;
}

static bool bind_number(sqlite3_stmt *statement, int parameter, int64_t number)
{
    return sqlite3_bind_int64(statement, parameter, number) == SQLITE_OK;
}

/* One argument for each letter of `types`. va_arg stands in the function that began the list. */
#define BIND_ALL(statement, types, arguments, ok)                                                  \
    do {                                                                                           \
        va_list arguments;                                                                         \
        va_start(arguments, types);                                                                \
        for (int i = 0; (ok) && (types)[i]; i++)                                                   \
            (ok) = (types)[i] == 't'                                                               \
                       ? bind_text(statement, i + 1, va_arg(arguments, const char *))              \
                       : bind_number(statement, i + 1, va_arg(arguments, int64_t));                \
        va_end(arguments);                                                                         \
    } while (0)

bool database_query(struct journal *journal, sqlite3_stmt **statement, struct error *err,
                    const char *sql, const char *types, ...)
{
    auto_statement sqlite3_stmt *prepared = NULL;
    if (!prepare(journal, &prepared, sql, err))
        return false;
    bool ok = true;
    BIND_ALL(prepared, types, arguments, ok);
    if (!ok)
        return database_error(journal, "cannot bind", err);
    *statement = take(prepared);
    return true;
}

bool database_row(struct journal *journal, sqlite3_stmt *statement, bool *has_row,
                  struct error *err)
{
    int code = sqlite3_step(statement);
    if (code != SQLITE_ROW && code != SQLITE_DONE)
        return database_error(journal, "cannot read or write", err);
    *has_row = code == SQLITE_ROW;
    return true;
}

bool database_run(struct journal *journal, int *changed, struct error *err, const char *sql,
                  const char *types, ...)
{
    auto_statement sqlite3_stmt *statement = NULL;
    bool has_row = false;
    bool ok = true;
    if (!prepare(journal, &statement, sql, err))
        return false;
    BIND_ALL(statement, types, arguments, ok);
    if (!ok)
        return database_error(journal, "cannot bind", err);
    if (!database_row(journal, statement, &has_row, err))
        return false;
    if (changed)
        *changed = sqlite3_changes(journal->db);
    return true;
}

const char *database_text(sqlite3_stmt *statement, int column)
{
    const unsigned char *text = sqlite3_column_text(statement, column);
    return text ? (const char *)text : "";
}

void database_copy(sqlite3_stmt *statement, int column, char *out, size_t size)
{
    const char *text = database_text(statement, column);
    size_t length = strnlen(text, size - 1);
    memcpy(out, text, length);
    out[length] = '\0';
}
