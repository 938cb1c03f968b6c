/* Pools in the database; see pool_store.h. */
#include "coordinator/store/pool_store.h"

#include "base/memory.h"
#include "coordinator/store/page_sql.h"

#include <stdio.h>

#define POOL_BODY                                                                                  \
    "json_build_object('id', p.id, 'name', p.name, 'hosts',"                                       \
    " (SELECT count(*) FROM host h WHERE h.pool_id = p.id), 'in_maintenance', p.in_maintenance, "  \
    "'created_at', p.created_at) AS body"

static const char list_sql[] =
    "SELECT p.id, " POOL_BODY
    " FROM pool p WHERE " PAGE_IN_SCOPE("$1", "p.id") " AND " PAGE_IS("$2", "p.name");
static const struct page_filter pool_filters[] = {
    {"name", PAGE_TEXT, NULL},
    {0},
};
static const struct page_sort pool_sorts[] = {
    {"id", "p.id", "uuid"},
    {"name", "p.name", "text"},
    {"created_at", "p.created_at", "timestamptz"},
    {0},
};
static const char *const pool_fields[] = {"id",         "name", "hosts", "in_maintenance",
                                          "created_at", NULL};
const struct page_list pool_list = {.name = "pools",
                                    .sql = list_sql,
                                    .own = 1,
                                    .id = "p.id",
                                    .filters = pool_filters,
                                    .sorts = pool_sorts,
                                    .fields = pool_fields};

static const char show_sql[] =
    "SELECT " POOL_BODY " FROM pool p WHERE (p.id::text = $1 OR p.name = $1)"
    " AND ($2::uuid[] IS NULL OR p.id = ANY ($2))";

bool pool_store_show(struct db *db, const char *scope, const char *id_or_name, char **text,
                     struct error *err)
{
    auto_db_rows struct db_rows *rows = NULL;
    if (!db_query(db, show_sql, DB_PARAMS(id_or_name, scope), &rows, err))
        return false;
    if (db_count(rows) == 0)
        return error_set(err, ERROR_NOT_FOUND, "pool %s does not exist", id_or_name);
    *text = memory_copy_text(db_value(rows, 0, "body"));
    return true;
}

static const char cpu_sql[] =
    "SELECT p.id, p.name, CASE WHEN count(DISTINCT h.cpu_vendor) = 1 THEN min(h.cpu_vendor) END"
    " AS vendor, count(h.cpu_vendor) AS hosts FROM pool p"
    " LEFT JOIN host h ON h.pool_id = p.id AND h.state = 'enabled' AND h.hypervisor IS NOT NULL"
    " WHERE p.id::text = $1 OR p.name = $1 GROUP BY p.id";

static const char cpu_reports_sql[] =
    "SELECT h.cpu_vendor, t.type, t.features FROM host h CROSS JOIN LATERAL"
    " jsonb_to_recordset(h.guest_types) AS t(type text, features text)"
    " WHERE h.pool_id = $1 AND h.state = 'enabled' AND h.hypervisor IS NOT NULL"
    " ORDER BY h.name, t.type";

#define COPY(out, rows, row, column)                                                               \
    snprintf((out), sizeof(out), "%s",                                                             \
             db_value((rows), (row), (column)) ? db_value((rows), (row), (column)) : "")

bool pool_store_cpu(struct db *db, const char *id_or_name, struct pool_cpu *out, struct error *err)
{
    auto_db_rows struct db_rows *pool = NULL;
    auto_db_rows struct db_rows *rows = NULL;
    if (!db_query(db, cpu_sql, DB_PARAMS(id_or_name), &pool, err))
        return false;
    if (db_count(pool) == 0)
        return error_set(err, ERROR_NOT_FOUND, "pool %s does not exist", id_or_name);
    struct pool_cpu found = {.hosts = (int)db_value_int(pool, 0, "hosts")};
    COPY(found.pool, pool, 0, "id");
    COPY(found.name, pool, 0, "name");
    COPY(found.vendor, pool, 0, "vendor");
    if (!db_query(db, cpu_reports_sql, DB_PARAMS(found.pool), &rows, err))
        return false;
    found.report_count = (size_t)db_count(rows);
    found.reports = memory_array(found.report_count, sizeof *found.reports);
    for (int i = 0; i < db_count(rows); i++) {
        COPY(found.reports[i].vendor, rows, i, "cpu_vendor");
        COPY(found.reports[i].type, rows, i, "type");
        COPY(found.reports[i].features, rows, i, "features");
    }
    *out = found;
    return true;
}

static const char create_sql[] =
    "INSERT INTO pool AS p (name) VALUES ($1) RETURNING p.id, " POOL_BODY;

bool pool_store_create(struct db *db, const char *name, char id[UUID_SIZE], char **text,
                       struct error *err)
{
    auto_db_rows struct db_rows *rows = NULL;
    if (!db_query(db, create_sql, DB_PARAMS(name), &rows, err)) {
        if (err->code == ERROR_CONFLICT)
            return error_set(err, ERROR_CONFLICT, "pool %s exists already", name);
        return false;
    }
    snprintf(id, UUID_SIZE, "%s", db_value(rows, 0, "id"));
    *text = memory_copy_text(db_value(rows, 0, "body"));
    return true;
}
