/* Changes by tokens: the handler and the audit row of what it did are one transaction. */
#include "coordinator/http/server.h"

#include "coordinator/db/db.h"

#include <stdio.h>

bool http_run_handler(struct http_exchange *exchange, struct error *err)
{
    return exchange->route->handler(exchange->server->context, &exchange->request,
                                    exchange->is_last_call, &exchange->answer, err);
}

/* A handler that answered without telling of a change has made none. */
static bool check_unchanged(struct http_exchange *exchange, struct error *err)
{
    bool has_changed = false;
    return db_has_changed(exchange->request.db, &has_changed, err) &&
           (!has_changed ||
            error_set(err, ERROR_INTERNAL, "a change without a row of the audit log"));
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

/* Ends the transaction: an answer that refuses keeps nothing. */
static bool keep(struct http_exchange *exchange, struct error *err)
{
    struct db *db = exchange->request.db;
    if (exchange->request.change.kind && exchange->answer.status < 400)
        return write_row(exchange, err) && db_commit(db, err);
    if (exchange->answer.status < 400 && !check_unchanged(exchange, err))
        return false;
    db_rollback(db);
    return true;
}

bool http_run_change(struct http_exchange *exchange, struct error *err)
{
    struct db *db = exchange->request.db;
    audit_change_done(&exchange->request.change);
    if (!db_begin(db, err))
        return false;
    if (http_run_handler(exchange, err) && keep(exchange, err))
        return true;
    db_rollback(db);
    return false;
}
