/* The way into life: preflight, the row, and the start. Admissions are one at a time over all
 * coordinators, because each counts what the others have reserved. */
#pragma once

#include "coordinator/domain/preflight.h"
#include "coordinator/store/migration_store.h"

/* Active migrations in which one host takes part at a time; more wait in the queue. */
enum { ADMISSION_MOST_PER_HOST = 4 };

struct admission_request {
    const char *vm;            /* id of the VM object */
    const char *pool;          /* destination pool's id */
    const char *host;          /* destination host's id, or NULL: any of the pool */
    struct mapping set;        /* the named mapping set's, or empty */
    struct mapping inline_map; /* the request's own */
    enum migration_mode mode;
    struct migration_policy policy;
    int stall_limit_ms;
    int parallel_disks;
    const char *created_by;
    const char *traceparent; /* of the request; NULL = none */
    int host_lost_after_s;
};

/* What preflight found. Free with admission_done. */
struct admission {
    struct preflight_input input;
    struct preflight_result result;
};
void admission_done(struct admission *admission);

/* Only looks. */
bool admission_check(struct db *db, const struct admission_request *request,
                     struct admission *admission, struct error *err) must_check;
/* Looks, and without blockers creates the queued migration `id`. With blockers nothing is created,
 * and the call still succeeds: look at admission->result.count. */
bool admission_create(struct db *db, const struct admission_request *request,
                      struct admission *admission, char id[UUID_SIZE],
                      struct error *err) must_check;
/* Starts a queued migration when it is its turn: preflight once more, the spec decided anew, ledger
 * and first step written. Otherwise it stays queued and says what it waits for, or it ends failed
 * with what changed since it was created. Fine for one that is queued no more. */
bool admission_start(struct db *db, const char *id, int host_lost_after_s,
                     struct error *err) must_check;
