/* Reads the table audit; see audit_view.h. */
#include "coordinator/store/audit_view.h"

static const char sql_list[] =
    "SELECT a.id, json_build_object('id', a.id, 'at', a.at, 'actor', json_build_object("
    "  'kind', a.actor_kind, 'name', a.actor_name, 'token', a.token_id), 'request', a.request_id,"
    " 'operation', a.operation, 'object', json_build_object('kind', a.object_kind,"
    "  'id', a.object_id), 'before', a.before, 'after', a.after, 'status', a.status) AS body"
    " FROM audit a WHERE ($1::text IS NULL OR a.actor_name = $1 OR a.token_id::text = $1)"
    " AND ($2::text IS NULL OR a.object_id = $2 OR a.object_kind = $2)"
    " AND ($3::timestamptz IS NULL OR a.at >= $3) AND ($4::timestamptz IS NULL OR a.at < $4)";
static const struct page_filter audit_filters[] = {
    {"actor", PAGE_TEXT, NULL},
    {"object", PAGE_TEXT, NULL},
    {"since", PAGE_TIME, NULL},
    {"until", PAGE_TIME, NULL},
    {0},
};
static const struct page_sort audit_sorts[] = {
    {"at", "a.sequence", "bigint"},
    {0},
};
static const char *const audit_fields[] = {"id",     "at",     "actor", "request", "operation",
                                           "object", "before", "after", "status",  NULL};
const struct page_list audit_list = {.name = "audit",
                                     .sql = sql_list,
                                     .own = 0,
                                     .id = "a.id",
                                     .filters = audit_filters,
                                     .sorts = audit_sorts,
                                     .is_newest_first = true,
                                     .fields = audit_fields};
