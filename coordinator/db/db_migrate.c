/* Applies db/migrations/NNNN_name.sql: all that are missing in one transaction, one coordinator at
 * a time. */
#include "coordinator/db/db_connection.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MIGRATION_LIMIT = 9999,
    MIGRATION_FILE_SIZE = 1 << 20,
};

/* Any fixed number that nothing else of this database uses: "xpool" as ASCII. */
#define MIGRATION_LOCK "517282426732"

static const char *const digits = "0123456789";

static int is_migration(const struct dirent *entry)
{
    const char *name = entry->d_name;
    size_t length = strlen(name);
    return length > 9 && strspn(name, digits) == 4 && name[4] == '_' &&
           strcmp(name + length - 4, ".sql") == 0;
}

struct migration_files {
    struct dirent **entries; /* sorted: entry i is version i + 1 */
    int count;
};

static void files_done(struct migration_files *files)
{
    for (int i = 0; i < files->count; i++)
        free(files->entries[i]);
    free(files->entries);
}

static bool files_read(struct migration_files *files, const char *directory, struct error *err)
{
    files->count = scandir(directory, &files->entries, is_migration, alphasort);
    if (files->count < 0) {
        files->count = 0;
        return error_set_errno(err, ERROR_INVALID, errno, "schema directory %s", directory);
    }
    if (files->count == 0 || files->count > MIGRATION_LIMIT)
        return error_set(err, ERROR_INVALID, "schema directory %s: no NNNN_name.sql file in it",
                         directory);
    for (int i = 0; i < files->count; i++) {
        if (atoi(files->entries[i]->d_name) != i + 1)
            return error_set(err, ERROR_INVALID,
                             "schema directory %s: %s is out of order, expected number %04d",
                             directory, files->entries[i]->d_name, i + 1);
    }
    return true;
}

bool db_schema_version(struct db *db, int *version, struct error *err)
{
    auto_db_rows struct db_rows *exists = NULL;
    if (!db_query(db, "SELECT to_regclass('schema_migration') IS NOT NULL AS is_there", 0, NULL,
                  &exists, err))
        return false;
    if (!db_value_bool(exists, 0, "is_there")) {
        *version = 0;
        return true;
    }
    auto_db_rows struct db_rows *rows = NULL;
    if (!db_query(db, "SELECT coalesce(max(version), 0) AS version FROM schema_migration", 0, NULL,
                  &rows, err))
        return false;
    *version = (int)db_value_int(rows, 0, "version");
    return true;
}

static bool apply_file(struct db *db, const char *directory, const char *file, int version,
                       struct error *err)
{
    auto_free char *path = memory_format("%s/%s", directory, file);
    auto_free char *sql = NULL;
    size_t size = 0;
    if (!file_read(path, MIGRATION_FILE_SIZE, &sql, &size, err))
        return false;
    if (!db_execute(db, sql, err))
        return error_prefix(err, "schema migration %s", file);
    if (PQtransactionStatus(db->connection) != PQTRANS_INTRANS)
        return error_set(err, ERROR_INVALID,
                         "schema migration %s ends the transaction it runs in; "
                         "it must not BEGIN, COMMIT or ROLLBACK",
                         file);
    auto_free char *name = memory_copy_text(file + 5);
    name[strlen(name) - 4] = '\0';
    if (!db_query(db, "INSERT INTO schema_migration (version, name) VALUES ($1, $2)",
                  DB_PARAMS(db_int(version).text, name), NULL, err))
        return error_prefix(err, "schema migration %s", file);
    log_info("applied schema migration %s", file);
    return true;
}

static bool lock_schema(struct db *db, struct error *err)
{
    return db_be_patient(db, err) &&
           db_execute(db, "SELECT pg_advisory_xact_lock(" MIGRATION_LOCK ")", err) &&
           db_execute(db,
                      "CREATE TABLE IF NOT EXISTS schema_migration (version int PRIMARY KEY,"
                      " name text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())",
                      err);
}

static bool apply_missing(struct db *db, const char *directory, const struct migration_files *files,
                          int *applied, struct error *err)
{
    int version = 0;
    if (!lock_schema(db, err) || !db_schema_version(db, &version, err))
        return false;
    if (version > files->count)
        return error_set(err, ERROR_REFUSED,
                         "the database has schema version %d, this program knows %d; "
                         "use the newer program",
                         version, files->count);
    int count = 0;
    for (int i = version; i < files->count; i++, count++) {
        if (!apply_file(db, directory, files->entries[i]->d_name, i + 1, err))
            return false;
    }
    if (!db_commit(db, err))
        return false;
    *applied = count;
    return true;
}

bool db_migrate(struct db *db, const char *directory, int *applied, struct error *err)
{
    struct migration_files files = {0};
    bool is_done = false;
    if (files_read(&files, directory, err) && db_begin(db, err)) {
        is_done = apply_missing(db, directory, &files, applied, err);
        if (!is_done)
            db_rollback(db);
    }
    files_done(&files);
    return is_done;
}
