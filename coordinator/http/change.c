/* Calls the handler. A change by a token is one transaction from the look at its conditions
 * (If-Match, Idempotency-Key) to the last of what is written, the audit row and the remembered
 * answer with it; all other requests are what their handler makes of them. */
#include "coordinator/http/server.h"

#include "base/failpoint.h"
#include "coordinator/db/db.h"

/* Fills the answer; a failure is a problem document. */
static void call(struct http_exchange *exchange)
{
    struct error err = {0};
    field_errors_done(&exchange->request.errors); /* of the call before, when it was parked */
    if (!exchange->route->handler(exchange->server->context, &exchange->request,
                                  exchange->is_last_call, &exchange->answer, &err))
        http_refuse_error(exchange, &err);
    else if (!exchange->answer.status)
        exchange->answer.status = 200;
}

/* Inside a transaction: a refusal has changed nothing. */
static bool call_audited(struct http_exchange *exchange, struct db *db, struct error *err)
{
    audit_change_done(&exchange->request.change);
    if (!db_begin(db, err))
        return false;
    if (http_check_match(exchange))
        call(exchange);
    if (exchange->answer.status < 400)
        return http_audit_keep(exchange, err) && db_commit(db, err);
    db_rollback(db);
    return true;
}

/* A refusal is remembered like a success. Not so a failure of ours, nor a request that waits: the
 * transaction ends with it. */
static bool change(struct http_exchange *exchange, struct db *db, const char *key,
                   struct error *err)
{
    bool is_new = true;
    if (key && !http_key_take(exchange, db, key, &is_new, err))
        return false;
    if (!is_new)
        return true;
    if (!call_audited(exchange, db, err))
        return false;
    if (exchange->answer.status >= 500 || exchange->answer.park_ms > 0)
        return true;
    if (key && !http_key_keep(exchange, db, key, err))
        return false;
    failpoint_pass("http.change-done");
    if (!db_commit(db, err))
        return false;
    failpoint_pass("http.change-committed");
    return true;
}

void http_call(struct http_exchange *exchange, struct db *db)
{
    struct error err;
    const char *key = NULL;
    if (!db || !http_is_change(exchange->route)) {
        call(exchange);
        return;
    }
    if (!http_key_read(exchange, &key, &err)) {
        http_refuse_error(exchange, &err);
        return;
    }
    if (!db_begin(db, &err) || !change(exchange, db, key, &err))
        http_refuse_error(exchange, &err);
    db_rollback_all(db);
}
