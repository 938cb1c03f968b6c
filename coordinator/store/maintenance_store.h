/* Maintenance of hosts and pools: nothing new is placed there. */
#pragma once

#include "coordinator/db/db.h"

enum maintenance_kind { MAINTENANCE_HOST, MAINTENANCE_POOL };

/* Safe to repeat. Its end is ERROR_CONFLICT while an evacuation that is not over empties it. */
bool maintenance_store_set(struct db *db, enum maintenance_kind kind, const char *id,
                           bool is_in_maintenance, struct error *err) must_check;
