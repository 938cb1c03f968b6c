/* The table webhook; see webhook_store.h. */
#include "coordinator/store/webhook_store.h"

#include "coordinator/store/page_sql.h"

#include <string.h>

#define BODY                                                                                       \
    "SELECT w.id, json_build_object('id', w.id, 'name', w.name, 'url', w.url,"                     \
    " 'resource', w.resource, 'kinds', w.kinds, 'pool', w.pool_id, 'is_enabled', w.is_enabled,"    \
    " 'failures', w.failures, 'rests_until',"                                                      \
    " CASE WHEN w.rests_until > now() THEN w.rests_until END, 'pending',"                          \
    " (SELECT count(*) FROM webhook_delivery d WHERE d.webhook_id = w.id"                          \
    "  AND d.state = 'pending'), 'dead', (SELECT count(*) FROM webhook_delivery d"                 \
    "  WHERE d.webhook_id = w.id AND d.state = 'dead'), 'created_at', w.created_at,"               \
    " 'changed_at', w.changed_at) AS body FROM webhook w"

static const char sql_list[] = BODY " WHERE " PAGE_IS("$1", "w.name");
static const struct page_filter webhook_filters[] = {
    {"name", PAGE_TEXT, NULL},
    {0},
};
static const struct page_sort webhook_sorts[] = {
    {"id", "w.id", "uuid"},
    {"name", "w.name", "text"},
    {"created_at", "w.created_at", "timestamptz"},
    {0},
};
static const char *const webhook_fields[] = {
    "id",       "name",        "url",     "resource", "kinds",      "pool",       "is_enabled",
    "failures", "rests_until", "pending", "dead",     "created_at", "changed_at", NULL};
const struct page_list webhook_list = {.name = "webhooks",
                                       .sql = sql_list,
                                       .own = 0,
                                       .id = "w.id",
                                       .filters = webhook_filters,
                                       .sorts = webhook_sorts,
                                       .fields = webhook_fields};

static const char sql_show[] = BODY " WHERE w.id = $1";

bool webhook_store_show(struct db *db, const char *id, char **text, struct error *err)
{
    return page_one(db, sql_show, DB_PARAMS(id), text, err);
}

static bool not_there(const char *id, struct error *err)
{
    return error_set(err, ERROR_NOT_FOUND,
                     "webhook \"%.80s\" does not exist: GET /v1/webhooks lists them", id);
}

static const char sql_find[] =
    "SELECT id FROM webhook WHERE id = $1::uuid OR ($1 IS NULL AND name = $2)";

bool webhook_store_find(struct db *db, const char *id_or_name, char id[UUID_SIZE],
                        struct error *err)
{
    auto_db_rows struct db_rows *rows = NULL;
    const char *as_id = uuid_is_valid(id_or_name) ? id_or_name : NULL;
    if (!db_query(db, sql_find, DB_PARAMS(as_id, id_or_name), &rows, err))
        return false;
    if (db_count(rows) == 0)
        return not_there(id_or_name, err);
    memcpy(id, db_value(rows, 0, "id"), UUID_SIZE);
    return true;
}

static const char sql_lock[] = "SELECT id FROM webhook WHERE id = $1 FOR UPDATE";

bool webhook_store_lock(struct db *db, const char *id, struct error *err)
{
    auto_db_rows struct db_rows *rows = NULL;
    if (!db_query(db, sql_lock, DB_PARAMS(id), &rows, err))
        return false;
    return db_count(rows) == 1 || not_there(id, err);
}

static bool name_taken(const char *name, struct error *err)
{
    if (err->code != ERROR_CONFLICT)
        return false;
    return error_set(err, ERROR_CONFLICT, "a webhook called \"%.80s\" exists already", name);
}

static const char sql_create[] =
    "INSERT INTO webhook (name, url, secret, resource, kinds, pool_id, is_enabled)"
    " SELECT $1, $2, $3, $4, ARRAY(SELECT jsonb_array_elements_text($5::jsonb)), $6::uuid,"
    " $7::boolean WHERE (SELECT count(*) FROM webhook) < $8::integer RETURNING id";

bool webhook_store_create(struct db *db, const struct webhook *webhook, char id[UUID_SIZE],
                          struct error *err)
{
    auto_db_rows struct db_rows *rows = NULL;
    struct db_text most = db_int(WEBHOOKS_MOST);
    if (!db_query(db, sql_create,
                  DB_PARAMS(webhook->name, webhook->url, webhook->secret, webhook->resource,
                            webhook->kinds, webhook->pool, db_bool(webhook->is_enabled), most.text),
                  &rows, err))
        return name_taken(webhook->name, err);
    if (db_count(rows) == 0)
        return error_set(err, ERROR_CONFLICT, "there are %d webhooks already, which is the limit",
                         WEBHOOKS_MOST);
    memcpy(id, db_value(rows, 0, "id"), UUID_SIZE);
    return true;
}

static const char sql_replace[] =
    "UPDATE webhook SET name = $2, url = $3, secret = coalesce($4, secret), resource = $5,"
    " kinds = ARRAY(SELECT jsonb_array_elements_text($6::jsonb)), pool_id = $7::uuid,"
    " is_enabled = $8::boolean, changed_at = now(), rests_until = now(), failures = 0"
    " WHERE id = $1";

bool webhook_store_replace(struct db *db, const char *id, const struct webhook *webhook,
                           struct error *err)
{
    auto_db_rows struct db_rows *rows = NULL;
    if (!db_query(db, sql_replace,
                  DB_PARAMS(id, webhook->name, webhook->url, webhook->secret, webhook->resource,
                            webhook->kinds, webhook->pool, db_bool(webhook->is_enabled)),
                  &rows, err))
        return name_taken(webhook->name, err);
    if (db_affected(rows) == 0)
        return not_there(id, err);
    db_notify(db, "webhook", "");
    return true;
}

static const char sql_remove[] = "DELETE FROM webhook WHERE id = $1";

bool webhook_store_remove(struct db *db, const char *id, struct error *err)
{
    auto_db_rows struct db_rows *rows = NULL;
    if (!db_query(db, sql_remove, DB_PARAMS(id), &rows, err))
        return false;
    return db_affected(rows) == 1 || not_there(id, err);
}
