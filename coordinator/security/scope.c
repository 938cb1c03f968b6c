/* Looks up pools and migrations within a scope; see scope.h. */
#include "coordinator/security/scope.h"

#include "base/buffer.h"
#include "coordinator/db/db.h"

#include <stdlib.h>
#include <string.h>

bool scope_find_pool(struct db *db, const char *scope, const char *id_or_name, char id[UUID_SIZE],
                     struct error *err)
{
    static const char sql[] = "SELECT id FROM pool WHERE (name = $1 OR id::text = $1)"
                              " AND ($2::uuid[] IS NULL OR id = ANY ($2))";
    auto_db_rows struct db_rows *rows = NULL;
    if (!db_query(db, sql, DB_PARAMS(id_or_name, scope), &rows, err))
        return false;
    if (db_count(rows) == 0)
        return error_set(err, ERROR_NOT_FOUND, "pool %.128s does not exist", id_or_name);
    memcpy(id, db_value(rows, 0, "id"), UUID_SIZE);
    return true;
}

static int compare(const void *a, const void *b)
{
    return strcmp(a, b);
}

bool scope_make(struct db *db, const char *const pools[], size_t count, char **scope,
                struct error *err)
{
    char ids[SCOPE_POOLS][UUID_SIZE];
    if (count < 1 || count > SCOPE_POOLS)
        return error_set(err, ERROR_INVALID, "pools: expected 1 to %d", SCOPE_POOLS);
    for (size_t i = 0; i < count; i++) {
        if (!scope_find_pool(db, NULL, pools[i], ids[i], err))
            return false;
    }
    qsort(ids, count, sizeof *ids, compare);
    struct buffer text;
    buffer_init(&text, sizeof ids + sizeof "{}");
    bool is_good = buffer_printf(&text, err, "{%s", ids[0]);
    for (size_t i = 1; i < count && is_good; i++) {
        if (strcmp(ids[i], ids[i - 1]) != 0)
            is_good = buffer_printf(&text, err, ",%s", ids[i]);
    }
    if (!is_good || !buffer_printf(&text, err, "}")) {
        buffer_done(&text);
        return false;
    }
    *scope = buffer_take(&text);
    return true;
}

bool scope_check_migration(struct db *db, const char *scope, const char *id, bool is_change,
                           struct error *err)
{
    static const char sql[] =
        "SELECT (source_pool_id = ANY ($2::uuid[]))::integer"
        " + (destination_pool_id = ANY ($2))::integer AS seen FROM migration WHERE id = $1";
    if (!scope)
        return true;
    auto_db_rows struct db_rows *rows = NULL;
    if (uuid_is_valid(id) && !db_query(db, sql, DB_PARAMS(id, scope), &rows, err))
        return false;
    int64_t seen = rows && db_count(rows) ? db_value_int(rows, 0, "seen") : 0;
    if (seen == 0)
        return error_set(err, ERROR_NOT_FOUND,
                         "migration \"%.80s\" does not exist: GET /v1/migrations lists them", id);
    if (is_change && seen == 1)
        return error_set(err, ERROR_REFUSED,
                         "migration %s is between two pools, and the token is not for both", id);
    return true;
}
