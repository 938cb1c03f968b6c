/* Loads what preflight looks at. */
#pragma once

#include "coordinator/db/db.h"
#include "coordinator/domain/preflight.h"

struct preflight_request {
    const char *vm;        /* id of the VM object */
    const char *pool;      /* destination pool's id */
    const char *host;      /* destination host's id, or NULL: any of the pool */
    const char *migration; /* the queued migration that wants to start, or NULL for a new one: its
                              own reservations and those queued behind it do not count */
    const char *network;   /* transfer network by name; "" = each host's own link */
    int host_lost_after_s;
};

/* Fills all but `mapping` and `request`, which the caller owns the sense of. Free with
 * preflight_input_done. */
bool preflight_facts_load(struct db *db, const struct preflight_request *request,
                          struct preflight_input *out, struct error *err) must_check;
