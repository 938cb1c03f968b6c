/* Calls the handler. A request with a condition (If-Match) or a key (Idempotency-Key) is one
 * transaction from the look at either to the last change; all others are what their handler makes
 * of them. */
#include "coordinator/http/server.h"

#include "base/failpoint.h"
#include "coordinator/db/db.h"

/* Fills the answer; a failure is a problem document. */
static void call(struct http_exchange *exchange)
{
    struct error err = {0};
    if (!exchange->route->handler(exchange->server->context, &exchange->request,
                                  exchange->is_last_call, &exchange->answer, &err))
        http_refuse_error(exchange, &err);
    else if (!exchange->answer.status)
        exchange->answer.status = 200;
}

/* A refusal is remembered like a success, and has changed nothing. Not so a failure of ours, nor a
 * request that waits: the transaction ends with it. */
static bool change(struct http_exchange *exchange, struct db *db, const char *key,
                   struct error *err)
{
    bool is_new = true;
    if (key && !http_key_take(exchange, db, key, &is_new, err))
        return false;
    if (!is_new)
        return true;
    if (!db_outer_mark(db, err))
        return false;
    if (http_check_match(exchange))
        call(exchange);
    if (exchange->answer.status >= 500 || exchange->answer.park_ms > 0)
        return true;
    if (exchange->answer.status >= 400 && !db_outer_undo(db, err))
        return false;
    if (key && !http_key_keep(exchange, db, key, err))
        return false;
    failpoint_pass("http.change-done");
    if (!db_outer_commit(db, err))
        return false;
    failpoint_pass("http.change-committed");
    return true;
}

void http_call(struct http_exchange *exchange, struct db *db)
{
    struct error err;
    const char *key = NULL;
    if (!db || http_is_read(exchange)) {
        call(exchange);
        return;
    }
    if (!http_key_read(exchange, &key, &err)) {
        http_refuse_error(exchange, &err);
        return;
    }
    if (!key && !http_header(exchange, MHD_HTTP_HEADER_IF_MATCH)) {
        call(exchange);
        return;
    }
    if (!db_outer_begin(db, &err) || !change(exchange, db, key, &err))
        http_refuse_error(exchange, &err);
    db_outer_rollback(db);
}
