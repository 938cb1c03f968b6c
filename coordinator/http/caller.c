/* Who calls, and may he: tokens with their role and scope, certificates of hosts. */
#include "coordinator/http/server.h"

#include "base/x509.h"
#include "coordinator/security/certificate.h"
#include "coordinator/security/scope.h"

static bool check_role(const struct http_exchange *exchange, struct error *err)
{
    enum token_role has = exchange->request.token.role, needed = http_role_of(exchange->route);
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

/* Kept for the polls that come after. */
static bool find_token(struct http_exchange *exchange, struct db *db, struct error *err)
{
    struct token *token = &exchange->request.token;
    char hash[65];
    token_done(token); /* of the call before, when it was parked */
    if (!token_find(db, exchange->bearer, token, err))
        return false;
    x509_sha256_hex(exchange->bearer, strlen(exchange->bearer), hash);
    token_cache_keep(exchange->server->tokens, hash, token, exchange->read_ms,
                     exchange->fresh_generation);
    return true;
}

static bool check_token(struct http_exchange *exchange, struct db *db)
{
    struct error err;
    if (!find_token(exchange, db, &err)) {
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
