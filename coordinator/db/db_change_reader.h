/* Reads the table `change`, inside coordinator/db only: what transactions have changed since the
 * reading before, whoever made them and whatever became of him.
 *
 * A NOTIFY in the transaction of a change would tell the same, but PostgreSQL lets only one
 * transaction with a NOTIFY commit at a time, the wait for the disk included. Rows of a table cost
 * no such thing, and what a snapshot sees that the one before did not is exactly what was committed
 * between them. */
#pragma once

#include "coordinator/db/db.h"

struct db_change_reader {
    char *snapshot;    /* of the reading before, as PostgreSQL writes it; NULL: there is none */
    int64_t asked_ms;  /* monotonic: that snapshot is not older */
    char old_xmin[24]; /* transactions below it had ended when `old_ms` was now */
    int64_t old_ms;
};

/* A new connection: what was changed before is not told any more. */
bool db_change_reader_begin(struct db_change_reader *reader, struct db *db,
                            struct error *err) must_check;
/* Tells each topic that was changed since the reading before, "" for everything when there were too
 * many or when it is too long ago. Then all that was committed before *until_ms has been told. Rows
 * that no coordinator needs any more are removed now and then. */
bool db_change_reader_read(struct db_change_reader *reader, struct db *db, db_on_wake *tell,
                           void *context, int64_t *until_ms, struct error *err) must_check;
void db_change_reader_done(struct db_change_reader *reader);
