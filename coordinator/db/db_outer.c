/* The outer transaction: what several functions with transactions of their own do becomes one. */
#include "coordinator/db/db_connection.h"

bool db_outer_begin(struct db *db, struct error *err)
{
    if (!db_execute(db, "BEGIN", err))
        return false;
    db->is_outer = true;
    return true;
}

bool db_outer_mark(struct db *db, struct error *err)
{
    return db_execute(db, "SAVEPOINT mark", err);
}

bool db_outer_undo(struct db *db, struct error *err)
{
    db->is_inside = false;
    return db_execute(db, "ROLLBACK TO SAVEPOINT mark", err);
}

bool db_outer_commit(struct db *db, struct error *err)
{
    db->is_outer = db->is_inside = false;
    if (db_commit_all(db, err))
        return true;
    db_rollback_all(db);
    return false;
}

void db_outer_rollback(struct db *db)
{
    if (db->is_outer)
        db_rollback_all(db);
}
