/* Numbers events in the order in which they can be seen. Any coordinator may; one does at a time.
 */
#pragma once

#include "base/error.h"

struct db;

/* Numbers what is committed and has no number, and hands it to the webhooks that chose it, in one
 * transaction. *is_more: call it again at once. */
bool event_number(struct db *db, bool *is_more, struct error *err) must_check;
