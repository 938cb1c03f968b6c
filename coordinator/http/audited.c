/* Changes by tokens: the audit row of what a handler did, in the transaction of it. */
#include "coordinator/http/server.h"

#include "coordinator/db/db.h"

#include <stdio.h>

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

bool http_audit_keep(struct http_exchange *exchange, struct error *err)
{
    bool has_changed = false;
    if (exchange->request.change.kind)
        return write_row(exchange, err);
    if (!db_has_changed(exchange->request.db, &has_changed, err))
        return false;
    return !has_changed ||
           error_set(err, ERROR_INTERNAL, "a change without a row of the audit log");
}
