/* How many there are, by state: for metrics. States without any are visited with 0. */
#pragma once

#include "coordinator/db/db.h"

typedef void census_visit(void *context, const char *kind, const char *state, int64_t count);

/* kind "migrations" */
bool census_store_migrations(struct db *db, census_visit *visit, void *context,
                             struct error *err) must_check;
/* Steps that are queued or running. kind: of the step. Only those that there are. */
bool census_store_steps(struct db *db, census_visit *visit, void *context,
                        struct error *err) must_check;
struct census_waiting {
    int64_t queued;         /* migrations */
    double oldest_queued_s; /* 0 = none */
    double oldest_step_s;   /* that is due and not delivered; 0 = none */
};
bool census_store_waiting(struct db *db, struct census_waiting *out, struct error *err) must_check;
/* kind "hosts": enrolling, revoked, up, lost */
bool census_store_hosts(struct db *db, int host_lost_after_s, census_visit *visit, void *context,
                        struct error *err) must_check;
