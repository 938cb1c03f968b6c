/* Numbers events; see event_number.h. */
#include "coordinator/event/event_number.h"

#include "base/failpoint.h"
#include "coordinator/store/event_store.h"
#include "coordinator/store/webhook_delivery.h"

enum { BATCH = 2000 };

/* The lock is a statement before the numbering, so that what the one numbered that had it before is
 * in the numbering's snapshot. */
static bool number(struct db *db, bool *is_more, struct error *err)
{
    bool is_mine = false;
    int64_t last = 0, count = 0;
    if (!event_store_lock(db, &is_mine, &last, err))
        return false;
    if (is_mine &&
        (!event_store_number(db, last, BATCH, &count, err) ||
         !webhook_delivery_fan_out(db, last, count, err) || !failpoint("event.numbered", err)))
        return false;
    *is_more = count == BATCH;
    return true;
}

bool event_number(struct db *db, bool *is_more, struct error *err)
{
    bool is_pending = false;
    *is_more = false;
    if (!event_store_is_pending(db, &is_pending, err))
        return false;
    if (!is_pending)
        return true;
    if (db_begin(db, err) && number(db, is_more, err) && db_commit(db, err))
        return true;
    db_rollback(db);
    return false;
}
