/* The table webhook_delivery; see webhook_delivery.h. */
#include "coordinator/store/webhook_delivery.h"

#include "base/memory.h"
#include "coordinator/store/page_sql.h"

#include <stdlib.h>
#include <string.h>

static const char sql_fan_out[] =
    "INSERT INTO webhook_delivery (webhook_id, sequence, kind, body)"
    " SELECT w.id, e.sequence, e.kind, event_json(e) FROM event e JOIN webhook w ON w.is_enabled"
    " AND (w.resource IS NULL OR w.resource = e.resource)"
    " AND (w.kinds = '{}' OR e.kind = ANY (w.kinds))"
    " AND (w.pool_id IS NULL OR CASE WHEN e.resource = 'evacuations'"
    "  THEN e.pools <@ ARRAY[w.pool_id] ELSE w.pool_id = ANY (e.pools) END)"
    " WHERE e.sequence BETWEEN $1::bigint + 1 AND $1::bigint + $2::bigint"
    " ORDER BY e.sequence, w.id FOR KEY SHARE OF w";

bool webhook_delivery_fan_out(struct db *db, int64_t after, int64_t count, struct error *err)
{
    struct db_text number = db_int(after), most = db_int(count);
    auto_db_rows struct db_rows *rows = NULL;
    if (!db_query(db, sql_fan_out, DB_PARAMS(number.text, most.text), &rows, err))
        return false;
    if (db_affected(rows) > 0)
        db_notify(db, "webhook", "");
    return true;
}

#define SHOWN(d)                                                                                   \
    d ".id, json_build_object('id', " d ".id, 'sequence', " d ".sequence, 'kind', " d ".kind,"     \
      " 'state', " d ".state, 'attempts', " d ".attempts, 'status', " d ".status,"                 \
      " 'error', " d ".error, 'next_attempt_at',"                                                  \
      " CASE WHEN " d ".state = 'pending' THEN " d ".not_before END,"                              \
      " 'created_at', " d ".created_at, 'ended_at', " d ".ended_at) AS body"

/* The delivery as it is shown; its sender is woken. */
static char *take_body(struct db *db, const struct db_rows *rows)
{
    db_notify(db, "webhook", "");
    return memory_copy_text(db_value(rows, 0, "body"));
}

static const char sql_test[] =
    "INSERT INTO webhook_delivery AS d (webhook_id, kind, body)"
    " SELECT w.id, 'webhook.test', json_build_object('sequence', NULL, 'kind', 'webhook.test',"
    " 'resource', 'webhooks', 'id', w.id, 'pools', '{}'::uuid[], 'at', clock_timestamp(),"
    " 'body', json_build_object('name', w.name))::text"
    " FROM webhook w WHERE w.id = $1 AND w.is_enabled FOR KEY SHARE RETURNING " SHOWN("d");

bool webhook_delivery_test(struct db *db, const char *webhook, char **text, struct error *err)
{
    auto_db_rows struct db_rows *rows = NULL;
    if (!db_query(db, sql_test, DB_PARAMS(webhook), &rows, err))
        return false;
    if (db_count(rows) == 0)
        return error_set(err, ERROR_CONFLICT, "webhook %s is not enabled", webhook);
    *text = take_body(db, rows);
    return true;
}

static const char sql_list[] =
    "SELECT " SHOWN("d") " FROM webhook_delivery d WHERE d.webhook_id = $1::uuid AND " PAGE_IS(
        "$2", "d.state") " AND " PAGE_IS("$3", "d.kind");
static const char *const list_states[] = {"pending", "delivered", "dead", NULL};
static const struct page_filter webhook_delivery_filters[] = {
    {"state", PAGE_WORD, list_states},
    {"kind", PAGE_TEXT, NULL},
    {0},
};
static const struct page_sort webhook_delivery_sorts[] = {
    {"created_at", "d.number", "bigint"},
    {0},
};
static const char *const webhook_delivery_fields[] = {
    "id",    "sequence",        "kind",       "state",    "attempts", "status",
    "error", "next_attempt_at", "created_at", "ended_at", NULL};
const struct page_list webhook_delivery_list = {.name = "webhooks/deliveries",
                                                .sql = sql_list,
                                                .own = 1,
                                                .id = "d.id",
                                                .filters = webhook_delivery_filters,
                                                .sorts = webhook_delivery_sorts,
                                                .is_newest_first = true,
                                                .fields = webhook_delivery_fields};

static const char sql_lock[] = "SELECT d.state, " SHOWN(
    "d") " FROM webhook_delivery d WHERE d.id = $1::uuid AND d.webhook_id = $2 FOR UPDATE";

/* Only a dead one. */
static bool lock_dead(struct db *db, const char *webhook, const char *delivery, char **text,
                      struct error *err)
{
    auto_db_rows struct db_rows *rows = NULL;
    if (!db_query(db, sql_lock, DB_PARAMS(delivery, webhook), &rows, err))
        return false;
    if (db_count(rows) == 0)
        return error_set(err, ERROR_NOT_FOUND,
                         "delivery %s does not exist: GET /v1/webhooks/%s/deliveries lists them",
                         delivery, webhook);
    const char *state = db_value(rows, 0, "state");
    if (strcmp(state, "dead") != 0)
        return error_set(err, ERROR_CONFLICT, "delivery %s is %s: only a dead one is tried again",
                         delivery, state);
    *text = memory_copy_text(db_value(rows, 0, "body"));
    return true;
}

static const char sql_retry[] =
    "UPDATE webhook_delivery AS d SET state = 'pending', ended_at = NULL, not_before = now(),"
    " began_at = now(), attempts = 0 WHERE d.id = $1 AND d.webhook_id = $2 AND d.state = 'dead'"
    " RETURNING " SHOWN("d");

bool webhook_delivery_retry(struct db *db, const char *webhook, const char *delivery, char **before,
                            char **after, struct error *err)
{
    auto_db_rows struct db_rows *rows = NULL;
    if (!lock_dead(db, webhook, delivery, before, err) ||
        !db_query(db, sql_retry, DB_PARAMS(delivery, webhook), &rows, err))
        return false;
    *after = take_body(db, rows);
    return true;
}

static const char sql_expire[] =
    "DELETE FROM webhook_delivery WHERE id IN (SELECT d.id FROM webhook_delivery d"
    " WHERE d.state <> 'pending' AND d.ended_at < now() - make_interval(hours => $1::integer)"
    " LIMIT $2)";

bool webhook_delivery_expire(struct db *db, int hours, int limit, struct error *err)
{
    struct db_text age = db_int(hours);
    struct db_text most = db_int(limit);
    return db_query(db, sql_expire, DB_PARAMS(age.text, most.text), NULL, err);
}

static const char sql_lease[] =
    "UPDATE webhook SET leased_by = $1::uuid,"
    " leased_until = now() + make_interval(secs => $2::integer)"
    " WHERE id = (SELECT w.id FROM webhook w WHERE w.is_enabled AND w.rests_until <= now()"
    "  AND w.leased_until <= now() AND EXISTS (SELECT FROM webhook_delivery d"
    "   WHERE d.webhook_id = w.id AND d.state = 'pending' AND d.not_before <= now())"
    "  ORDER BY w.leased_until LIMIT 1 FOR UPDATE SKIP LOCKED)"
    " RETURNING id";

bool webhook_delivery_lease(struct db *db, const char *owner, int seconds, char webhook[UUID_SIZE],
                            bool *is_found, struct error *err)
{
    auto_db_rows struct db_rows *rows = NULL;
    struct db_text lease = db_int(seconds);
    if (!db_query(db, sql_lease, DB_PARAMS(owner, lease.text), &rows, err))
        return false;
    *is_found = db_count(rows) == 1;
    if (*is_found)
        memcpy(webhook, db_value(rows, 0, "id"), UUID_SIZE);
    return true;
}

static const char sql_release[] =
    "UPDATE webhook SET leased_by = NULL, leased_until = now() WHERE id = $1 AND leased_by = $2";

bool webhook_delivery_release(struct db *db, const char *owner, const char *webhook,
                              struct error *err)
{
    return db_query(db, sql_release, DB_PARAMS(webhook, owner), NULL, err);
}

void webhook_delivery_done(struct webhook_delivery *delivery)
{
    if (delivery->secret)
        explicit_bzero(delivery->secret, strlen(delivery->secret));
    free(delivery->url);
    free(delivery->secret);
    free(delivery->event);
    free(delivery->kind);
    free(delivery->body);
    *delivery = (struct webhook_delivery){0};
}

static const char sql_next[] =
    "WITH mine AS (UPDATE webhook SET leased_until = now() + make_interval(secs => $3::integer)"
    "  WHERE id = $1 AND leased_by = $2 AND leased_until > now() AND is_enabled"
    "  AND rests_until <= now() RETURNING id, url, secret, failures)"
    " SELECT d.id, d.webhook_id, coalesce(d.sequence::text, d.id::text) AS event, d.kind, d.body,"
    " d.attempts, mine.url, mine.secret, mine.failures"
    " FROM mine JOIN webhook_delivery d ON d.webhook_id = mine.id AND d.state = 'pending'"
    " AND d.not_before <= now() ORDER BY d.number LIMIT 1";

bool webhook_delivery_next(struct db *db, const char *owner, int seconds, const char *webhook,
                           struct webhook_delivery *out, bool *is_found, struct error *err)
{
    auto_db_rows struct db_rows *rows = NULL;
    struct db_text lease = db_int(seconds);
    if (!db_query(db, sql_next, DB_PARAMS(webhook, owner, lease.text), &rows, err))
        return false;
    *is_found = db_count(rows) == 1;
    if (!*is_found)
        return true;
    *out = (struct webhook_delivery){
        .url = memory_copy_text(db_value(rows, 0, "url")),
        .secret = memory_copy_text(db_value(rows, 0, "secret")),
        .event = memory_copy_text(db_value(rows, 0, "event")),
        .kind = memory_copy_text(db_value(rows, 0, "kind")),
        .body = memory_copy_text(db_value(rows, 0, "body")),
        .attempts = (int)db_value_int(rows, 0, "attempts"),
        .failures = (int)db_value_int(rows, 0, "failures"),
    };
    memcpy(out->id, db_value(rows, 0, "id"), UUID_SIZE);
    memcpy(out->webhook, db_value(rows, 0, "webhook_id"), UUID_SIZE);
    return true;
}

static const char sql_accepted[] =
    "WITH answered AS (UPDATE webhook SET failures = 0 WHERE id = $2 AND failures <> 0)"
    " UPDATE webhook_delivery SET state = 'delivered', attempts = attempts + 1,"
    " status = $3::integer, error = NULL, ended_at = now() WHERE id = $1 AND state = 'pending'";

bool webhook_delivery_accepted(struct db *db, const struct webhook_delivery *delivery, long status,
                               struct error *err)
{
    struct db_text number = db_int(status);
    return db_query(db, sql_accepted, DB_PARAMS(delivery->id, delivery->webhook, number.text), NULL,
                    err);
}

/* The attempt that failed, and with it, when the receiver is away, all that was tried or waited for
 * too long. */
static const char sql_failed[] =
    "WITH away AS (UPDATE webhook SET failures = failures + 1,"
    "  rests_until = now() + $5::bigint * interval '1 millisecond' WHERE id = $2 AND $7::boolean)"
    " UPDATE webhook_delivery SET attempts = attempts + (id = $1)::integer,"
    " status = nullif($3::integer, 0), error = $4,"
    " not_before = now() + $5::bigint * interval '1 millisecond',"
    " state = CASE WHEN began_at <= now() - make_interval(secs => $6::integer)"
    "  THEN 'dead' ELSE 'pending' END,"
    " ended_at = CASE WHEN began_at <= now() - make_interval(secs => $6::integer) THEN now() END"
    " WHERE webhook_id = $2 AND state = 'pending' AND (id = $1 OR ($7::boolean"
    "  AND began_at <= now() - make_interval(secs => $6::integer)))";

bool webhook_delivery_failed(struct db *db, const struct webhook_delivery *delivery,
                             const struct webhook_failure *failure, struct error *err)
{
    struct db_text status = db_int(failure->status);
    struct db_text delay = db_int(failure->delay_ms);
    struct db_text limit = db_int(failure->give_up_after_s);
    return db_query(db, sql_failed,
                    DB_PARAMS(delivery->id, delivery->webhook, status.text, failure->text,
                              delay.text, limit.text, db_bool(failure->is_away)),
                    NULL, err);
}
