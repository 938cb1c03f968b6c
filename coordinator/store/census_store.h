/* How many there are, by state: for metrics. States without any are visited with 0. */
#pragma once

#include "coordinator/db/db.h"

typedef void census_visit(void *context, const char *kind, const char *state, int64_t count);

/* kind "migrations" */
bool census_store_migrations(struct db *db, census_visit *visit, void *context,
                             struct error *err) must_check;
/* kind "hosts": enrolling, revoked, up, lost */
bool census_store_hosts(struct db *db, int host_lost_after_s, census_visit *visit, void *context,
                        struct error *err) must_check;
