/* The table event: what changed, written by triggers, numbered here, read by sequence.
 *
 * Identities are given when a row is written, so a reader that went on after the highest one it saw
 * would miss a row whose transaction commits later. Sequences are given to rows that are committed,
 * by one coordinator at a time, and become visible all at once: what a reader sees has no holes,
 * and nothing ever appears below it. They are contiguous. */
#pragma once

#include "coordinator/db/db.h"
#include "coordinator/domain/event.h"

/* What can be read now. oldest is newest + 1 when there is none; newest is 0 before the first. */
struct event_bounds {
    int64_t oldest, newest;
};
bool event_store_bounds(struct db *db, struct event_bounds *bounds, struct error *err) must_check;

/* Are there events without a number? */
bool event_store_is_pending(struct db *db, bool *is_pending, struct error *err) must_check;
/* Inside a transaction: *is_mine false when another coordinator numbers now, else *last is the last
 * number given, and nobody else gives one until the transaction ends. */
bool event_store_lock(struct db *db, bool *is_mine, int64_t *last, struct error *err) must_check;
/* Inside that transaction, in a statement of its own after it: numbers at most `limit` and wakes
 * the readers of all coordinators at the commit. */
bool event_store_number(struct db *db, int64_t last, int limit, int64_t *count,
                        struct error *err) must_check;

/* Those above `after` and up to `upto` that the filter wants, at most `limit`, in order. Columns
 * sequence, kind, resource, resource_id, pools, data (the event as one line of JSON). */
bool event_store_read(struct db *db, const struct event_filter *filter, int64_t after, int64_t upto,
                      int limit, struct db_rows **rows, struct error *err) must_check;

/* Removes at most `limit` of those older than `hours`, always the lowest sequences first. */
bool event_store_expire(struct db *db, int hours, int limit, struct error *err) must_check;
