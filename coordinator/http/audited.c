/* Changes by tokens: the handler and the audit row of what it did are one transaction. */
#include "coordinator/http/server.h"

#include "coordinator/db/db.h"

#include <stdio.h>

bool http_run_handler(struct http_exchange *exchange, struct error *err)
{
    return exchange->route->handler(exchange->server->context, &exchange->request,
                                    exchange->is_last_call, &exchange->answer, err);
}

static bool write_row(struct http_exchange *exchange, struct error *err)
{
    const struct http_request *request = &exchange->request;
    const struct http_answer *answer = &exchange->answer;
    char operation[160];
    snprintf(operation, sizeof operation, "%s %s", exchange->route->method, exchange->route->path);
    const struct audit_actor actor = {.kind = "token",
                                      .name = request->token.name,
                                      .token = request->token.id,
                                      .request = request->id,
                                      .operation = operation,
                                      .status = answer->status ? answer->status : 200};
    return audit_write(request->db, &actor, &request->change, err);
}

/* Inside the transaction of the handler's change: the row of what it told. A handler that answered
 * without telling has changed nothing. */
static bool keep_row(struct http_exchange *exchange, struct error *err)
{
    bool has_changed = false;
    if (exchange->request.change.kind)
        return write_row(exchange, err);
    if (!db_has_changed(exchange->request.db, &has_changed, err))
        return false;
    return !has_changed ||
           error_set(err, ERROR_INTERNAL, "a change without a row of the audit log");
}

/* An answer that refuses keeps nothing. */
bool http_run_audited(struct http_exchange *exchange, struct error *err)
{
    struct db *db = exchange->request.db;
    audit_change_done(&exchange->request.change);
    if (!db_begin(db, err))
        return false;
    bool is_answered = http_run_handler(exchange, err);
    if (is_answered && exchange->answer.status < 400)
        is_answered = keep_row(exchange, err) && db_commit(db, err);
    if (!is_answered || exchange->answer.status >= 400)
        db_rollback(db);
    return is_answered;
}
