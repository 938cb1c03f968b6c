/* What the tests of coordinator/db share: each has a pool of two connections of its own. */
#pragma once

#include "coordinator/db/db.h"

extern struct db_pool *pool;
extern struct error err;

const char *conninfo(void);
struct db *take_one(void);
void must(struct db *db, const char *sql);
/* Ends the server's side of a connection, as an administrator would. */
void terminate(struct db *other, const char *pid);
void backend_of(struct db *db, char pid[16]);
/* The column `count` of the first row. */
int count_of(struct db *db, const char *sql);
void insert_in_transaction(struct db *db, const char *sql, bool is_kept);
