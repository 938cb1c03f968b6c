/* Reads the table audit; see audit_view.h. */
#include "coordinator/store/audit_view.h"

static const char sql_list[] =
    "SELECT a.id, json_build_object('id', a.id, 'at', a.at, 'actor', json_build_object("
    "  'kind', a.actor_kind, 'name', a.actor_name, 'token', a.token_id), 'request', a.request_id,"
    " 'operation', a.operation, 'object', json_build_object('kind', a.object_kind,"
    "  'id', a.object_id), 'before', a.before, 'after', a.after, 'status', a.status) AS body"
    " FROM audit a WHERE ($1::uuid IS NULL OR a.sequence <"
    "  (SELECT last.sequence FROM audit last WHERE last.id = $1))"
    " AND ($3::text IS NULL OR a.actor_name = $3 OR a.token_id::text = $3)"
    " AND ($4::text IS NULL OR a.object_id = $4 OR a.object_kind = $4)"
    " AND ($5::timestamptz IS NULL OR a.at >= $5) AND ($6::timestamptz IS NULL OR a.at < $6)"
    " ORDER BY a.sequence DESC LIMIT $2";

bool audit_view_list(struct db *db, const struct page *page, const struct audit_filter *filter,
                     char **text, struct error *err)
{
    return page_query(db, sql_list, page, 4,
                      (const char *[]){filter->actor, filter->object, filter->since, filter->until},
                      text, err);
}
