/* Who calls, and may he: tokens with their role and scope, certificates of hosts. */
#include "coordinator/http/server.h"

#include "coordinator/security/certificate.h"
#include "coordinator/security/scope.h"

static enum token_role role_of(enum http_access access)
{
    return access == ACCESS_VIEWER     ? TOKEN_VIEWER
           : access == ACCESS_OPERATOR ? TOKEN_OPERATOR
                                       : TOKEN_ADMIN;
}

static bool check_role(const struct http_exchange *exchange, struct error *err)
{
    enum token_role has = exchange->request.token.role, needed = role_of(exchange->route->access);
    return has >= needed ||
           error_set(err, ERROR_REFUSED, "this needs the role %s, the token has %s",
                     token_role_names[needed], token_role_names[has]);
}

/* Objects of other kinds are looked up by the handlers, in statements that know the scope. */
static bool check_scope(const struct http_exchange *exchange, struct db *db, struct error *err)
{
    const struct http_request *request = &exchange->request;
    if (!request->token.scope)
        return true;
    switch (exchange->route->scope) {
    case SCOPE_SHARED:
    case SCOPE_OBJECTS:
        return true;
    case SCOPE_MIGRATION:
        return scope_check_migration(db, request->token.scope, request->parameters[0],
                                     http_is_change(exchange->route), err);
    case SCOPE_NONE:
    case SCOPE_WHOLE:
        break;
    }
    return error_set(err, ERROR_REFUSED,
                     "this concerns all pools, and the token is limited to some");
}

static bool check_token(struct http_exchange *exchange, struct db *db)
{
    struct token *token = &exchange->request.token;
    struct error err;
    token_done(token); /* of the call before, when it was parked */
    if (!token_find(db, exchange->bearer, token, &err)) {
        exchange->is_stranger = exchange->is_unauthenticated = err.code == ERROR_REFUSED;
        if (exchange->is_unauthenticated)
            http_refuse(exchange, 401, "unauthenticated", err.text);
        else
            http_refuse_error(exchange, &err);
        return false;
    }
    http_rate_known(exchange);
    if (check_role(exchange, &err) && check_scope(exchange, db, &err))
        return true;
    http_refuse_error(exchange, &err);
    return false;
}

bool http_check_caller(struct http_exchange *exchange, struct db *db)
{
    struct error err;
    if (exchange->route->access != ACCESS_AGENT)
        return check_token(exchange, db);
    if (certificate_check(db, exchange->request.host, exchange->serial, &err)) {
        http_rate_known(exchange);
        return true;
    }
    exchange->is_stranger = err.code == ERROR_REFUSED;
    http_refuse_error(exchange, &err);
    return false;
}
