/* Reads the table api_token; see token_view.h. */
#include "coordinator/store/token_view.h"

#include "coordinator/store/page_sql.h"

#define BODY                                                                                       \
    "SELECT t.id, json_build_object('id', t.id, 'name', t.name, 'role', t.role, 'pools', CASE"     \
    " WHEN t.pool_ids IS NOT NULL THEN (SELECT coalesce(json_agg(json_build_object('id', p.id,"    \
    "  'name', p.name) ORDER BY p.name), '[]') FROM pool p WHERE p.id = ANY (t.pool_ids)) END,"    \
    " 'created_at', t.created_at, 'expires_at', t.expires_at, 'last_used_at', t.last_used_at,"     \
    " 'revoked_at', t.revoked_at) AS body FROM api_token t"

static const char sql_list[] =
    BODY " WHERE " PAGE_IS("$1", "t.name") " AND " PAGE_IS("$2", "t.role");
static const char *const token_roles[] = {"viewer", "operator", "admin", NULL};
static const struct page_filter token_filters[] = {
    {"name", PAGE_TEXT, NULL},
    {"role", PAGE_WORD, token_roles},
    {0},
};
static const struct page_sort token_sorts[] = {
    {"id", "t.id", "uuid"},
    {"name", "t.name", "text"},
    {"created_at", "t.created_at", "timestamptz"},
    {0},
};
static const char *const token_fields[] = {
    "id", "name", "role", "pools", "created_at", "expires_at", "last_used_at", "revoked_at", NULL};
const struct page_list token_list = {.name = "tokens",
                                     .sql = sql_list,
                                     .own = 0,
                                     .id = "t.id",
                                     .filters = token_filters,
                                     .sorts = token_sorts,
                                     .fields = token_fields};

static const char sql_show[] = BODY " WHERE t.id = $1";

bool token_view_show(struct db *db, const char *id, char **text, struct error *err)
{
    return page_one(db, sql_show, DB_PARAMS(id), text, err);
}
