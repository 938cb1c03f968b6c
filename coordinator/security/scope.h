/* Scopes: the pools that a token is limited to, as a PostgreSQL array of their ids ("{id,id}",
 * sorted), or NULL for a token that sees everything.
 *
 * Every statement that shows or finds an object takes the scope as a parameter and treats what lies
 * outside as if it were not there. Migrations belong to two pools and are checked here, by route.
 */
#pragma once

#include "base/error.h"
#include "base/uuid.h"

#include <stddef.h>

struct db;

enum { SCOPE_POOLS = 32 }; /* of one token, at most */

/* The scope of these pools (ids or names; repeated ones count once). *scope is owned by the caller.
 * ERROR_NOT_FOUND names the pool that does not exist. */
bool scope_make(struct db *db, const char *const pools[], size_t count, char **scope,
                struct error *err) must_check;
/* The id of the pool (id or name) when it is in scope, else ERROR_NOT_FOUND. */
bool scope_find_pool(struct db *db, const char *scope, const char *id_or_name, char id[UUID_SIZE],
                     struct error *err) must_check;
/* A migration is seen by who may see either of its pools, else ERROR_NOT_FOUND; it is changed by
 * who may see both, else ERROR_REFUSED. */
bool scope_check_migration(struct db *db, const char *scope, const char *id, bool is_change,
                           struct error *err) must_check;
