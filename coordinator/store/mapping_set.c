/* The table mapping_set; see mapping_set.h. */
#include "coordinator/store/mapping_set.h"

#include "base/memory.h"
#include "coordinator/store/page_sql.h"

#include <string.h>

#define BODY                                                                                       \
    "SELECT id, json_build_object('id', id, 'name', name, 'mapping', mapping,"                     \
    " 'created_at', created_at, 'changed_at', changed_at) AS body FROM mapping_set"

static const char sql_list[] = BODY " WHERE " PAGE_IS("$1", "name");
static const struct page_filter mapping_set_filters[] = {
    {"name", PAGE_TEXT, NULL},
    {0},
};
static const struct page_sort mapping_set_sorts[] = {
    {"id", "id", "uuid"},
    {"name", "name", "text"},
    {"created_at", "created_at", "timestamptz"},
    {"changed_at", "changed_at", "timestamptz"},
    {0},
};
static const char *const mapping_set_fields[] = {"id",         "name",       "mapping",
                                                 "created_at", "changed_at", NULL};
const struct page_list mapping_set_list = {.name = "mapping-sets",
                                           .sql = sql_list,
                                           .own = 0,
                                           .id = "id",
                                           .filters = mapping_set_filters,
                                           .sorts = mapping_set_sorts,
                                           .fields = mapping_set_fields};

static const char sql_show[] = BODY " WHERE id = $1";

bool mapping_set_show(struct db *db, const char *id, char **text, struct error *err)
{
    return page_one(db, sql_show, DB_PARAMS(id), text, err);
}

static const char sql_lock[] = "SELECT id FROM mapping_set WHERE id = $1 FOR NO KEY UPDATE";

bool mapping_set_lock(struct db *db, const char *id, struct error *err)
{
    return db_query(db, sql_lock, DB_PARAMS(id), NULL, err);
}

static bool name_taken(const char *name, struct error *err)
{
    if (err->code != ERROR_CONFLICT)
        return false;
    return error_set(err, ERROR_CONFLICT, "a mapping set called \"%.80s\" exists already", name);
}

static const char sql_create[] =
    "INSERT INTO mapping_set (name, mapping) VALUES ($1, $2::jsonb) RETURNING id";

bool mapping_set_create(struct db *db, const char *name, const char *mapping, char id[UUID_SIZE],
                        struct error *err)
{
    auto_db_rows struct db_rows *rows = NULL;
    if (!db_query(db, sql_create, DB_PARAMS(name, mapping), &rows, err))
        return name_taken(name, err);
    memcpy(id, db_value(rows, 0, "id"), UUID_SIZE);
    return true;
}

static bool not_there(const char *id, struct error *err)
{
    return error_set(err, ERROR_NOT_FOUND,
                     "mapping set \"%.80s\" does not exist: GET /v1/mapping-sets lists them", id);
}

static const char sql_replace[] = "UPDATE mapping_set SET name = $2, mapping = $3::jsonb,"
                                  " changed_at = now() WHERE id = $1";

bool mapping_set_replace(struct db *db, const char *id, const char *name, const char *mapping,
                         struct error *err)
{
    auto_db_rows struct db_rows *rows = NULL;
    if (!db_query(db, sql_replace, DB_PARAMS(id, name, mapping), &rows, err))
        return name_taken(name, err);
    return db_affected(rows) == 1 || not_there(id, err);
}

static const char sql_remove[] = "DELETE FROM mapping_set WHERE id = $1";

bool mapping_set_remove(struct db *db, const char *id, struct error *err)
{
    auto_db_rows struct db_rows *rows = NULL;
    if (!db_query(db, sql_remove, DB_PARAMS(id), &rows, err))
        return false;
    return db_affected(rows) == 1 || not_there(id, err);
}

static const char sql_find[] = "SELECT id, mapping::text AS mapping FROM mapping_set"
                               " WHERE id = $1::uuid OR ($1 IS NULL AND name = $2)";

bool mapping_set_find(struct db *db, const char *id_or_name, char id[UUID_SIZE], char **mapping,
                      struct error *err)
{
    auto_db_rows struct db_rows *rows = NULL;
    const char *as_id = uuid_is_valid(id_or_name) ? id_or_name : NULL;
    if (!db_query(db, sql_find, DB_PARAMS(as_id, id_or_name), &rows, err))
        return false;
    if (db_count(rows) == 0)
        return not_there(id_or_name, err);
    memcpy(id, db_value(rows, 0, "id"), UUID_SIZE);
    *mapping = memory_copy_text(db_value(rows, 0, "mapping"));
    return true;
}
