/* Reads the table api_token; see token_view.h. */
#include "coordinator/store/token_view.h"

#define BODY                                                                                       \
    "SELECT t.id, json_build_object('id', t.id, 'name', t.name, 'role', t.role, 'pools', CASE"     \
    " WHEN t.pool_ids IS NOT NULL THEN (SELECT coalesce(json_agg(json_build_object('id', p.id,"    \
    "  'name', p.name) ORDER BY p.name), '[]') FROM pool p WHERE p.id = ANY (t.pool_ids)) END,"    \
    " 'created_at', t.created_at, 'expires_at', t.expires_at, 'last_used_at', t.last_used_at,"     \
    " 'revoked_at', t.revoked_at) AS body FROM api_token t"

static const char sql_list[] = BODY " WHERE $1::uuid IS NULL OR t.id > $1 ORDER BY t.id LIMIT $2";

bool token_view_list(struct db *db, const struct page *page, char **text, struct error *err)
{
    return page_query(db, sql_list, page, 0, NULL, text, err);
}

static const char sql_show[] = BODY " WHERE t.id = $1";

bool token_view_show(struct db *db, const char *id, char **text, struct error *err)
{
    return page_one(db, sql_show, DB_PARAMS(id), text, err);
}
