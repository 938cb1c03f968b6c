/* The table migration: the only statements that write it. A state changes in
 * migration_store_move() alone, and only under the lock of migration_store_lock(). */
#pragma once

#include "base/traceparent.h"
#include "coordinator/domain/migration.h"
#include "coordinator/domain/policy.h"
#include "coordinator/store/page.h"

/* What a transition needs of a row. */
struct migration_row {
    char id[UUID_SIZE];
    char vm[UUID_SIZE], destination_vm[UUID_SIZE];
    char source_host[UUID_SIZE], destination_host[UUID_SIZE];
    char destination_pool[UUID_SIZE];
    char requested_host[UUID_SIZE]; /* "" = any of the pool */
    enum migration_state state;
    int64_t epoch;
    bool is_cancel_requested;
    bool may_switch;     /* nothing holds the switch-over now */
    int retries_left;    /* how often a failure that passes may start it again */
    char error_code[32]; /* "" = it has not failed */
    uint64_t bandwidth_bytes_per_s;
    char network[LIMIT_NAME + 1];
    char traceparent[TRACEPARENT_SIZE];
    /* NULL when it was locked for the result of a step */
    char *mapping; /* JSON */
    char *spec;    /* JSON of struct migration_spec */
};
void migration_row_done(struct migration_row *row);
static inline void cleanup_migration_row(struct migration_row *row)
{
    migration_row_done(row);
}
#define auto_migration_row __attribute__((cleanup(cleanup_migration_row)))

/* Locks the row until the transaction ends. ERROR_NOT_FOUND names it and what to do. */
bool migration_store_lock(struct db *db, const char *id, struct migration_row *row,
                          struct error *err) must_check;
/* As above, but a row that somebody else has locked is left out: *is_locked says so. */
bool migration_store_try_lock(struct db *db, const char *id, struct migration_row *row,
                              bool *is_locked, struct error *err) must_check;
/* Locks the migrations of these steps (params: arrays of their ids and hosts) in the order of their
 * ids, so that two who do it never wait for each other. Without `waits` those that somebody else
 * has locked are left out. */
struct db_statement migration_store_lock_statement(const char *const params[2], bool waits,
                                                   struct db_rows **rows);
/* One of the rows that it found. */
bool migration_store_read(const struct db_rows *rows, const char *id, struct migration_row *row,
                          bool *is_there, struct error *err) must_check;
/* Admissions (create, start) are one at a time over all coordinators, so that two of them never
 * count the same free room. Held until the transaction ends. */
bool migration_store_admission_lock(struct db *db, struct error *err) must_check;

struct migration_new {
    const struct migration_spec *spec;
    const char *vm;
    const char *destination_vm; /* id of the new object; inside a pool the VM keeps its own */
    const char *destination_pool;
    const char *requested_host; /* NULL = any of the pool */
    const char *mapping;        /* JSON, effective */
    const char *created_by;
    const struct migration_policy *policy;
};
/* Queued. ERROR_CONFLICT when the VM has an active migration. */
bool migration_store_insert(struct db *db, const struct migration_new *made,
                            struct error *err) must_check;
/* What is moved where, decided anew when a queued migration starts. */
bool migration_store_set_spec(struct db *db, const struct migration_spec *spec,
                              struct error *err) must_check;

/* From row->state to `state` with this epoch; sets started_at and ended_at, clears waits_for. The
 * transaction fails when the row is in another state, which under its lock it is not. Updates *row.
 * This and what follows to migration_store_release_vm() is posted: done when the transaction is. */
bool migration_store_move(struct db *db, struct migration_row *row, enum migration_state state,
                          int64_t epoch, struct error *err) must_check;
/* The first error stays. */
bool migration_store_set_error(struct db *db, const char *id, const struct error *why,
                               struct error *err) must_check;
bool migration_store_ask_cancel(struct db *db, struct migration_row *row,
                                struct error *err) must_check;
/* NULL clears. */
bool migration_store_set_waits_for(struct db *db, const char *id, const char *text,
                                   struct error *err) must_check;
bool migration_store_set_pause(struct db *db, const char *id, int64_t pause_us,
                               struct error *err) must_check;
/* The VM belongs to the destination now: inside a pool its object moves, between pools the object
 * chosen for it replaces the source's. Safe to repeat, and right whether or not the destination's
 * inventory came first. */
bool migration_store_commit(struct db *db, const struct migration_row *row,
                            struct error *err) must_check;
/* At the end without a commit: the VM's object goes when its host stopped reporting the domain
 * while the migration kept it. */
bool migration_store_release_vm(struct db *db, const struct migration_row *row,
                                struct error *err) must_check;

/* Active started migrations in which the host takes part. */
bool migration_store_load_of(struct db *db, const char *host, int *count,
                             struct error *err) must_check;
/* Ids of at most `limit` queued migrations that may start now and of whose named hosts none has
 * `most` or more active ones: higher priorities first, then the older. *rows has a column `id`. */
bool migration_store_queue(struct db *db, int most, int limit, struct db_rows **rows,
                           struct error *err) must_check;
/* Ids of migrations that a destination silent for `seconds` moves on. Column `id`. */
bool migration_store_destination_lost(struct db *db, int seconds, struct db_rows **rows,
                                      struct error *err) must_check;

/* Progress reported by a host; kept only for active migrations of which it is the source.
 * *sent_bytes: what background copies have sent since the report before. */
bool migration_store_progress(struct db *db, const char *host, const struct json_array *progress,
                              int64_t *sent_bytes, struct error *err) must_check;

/* Those of which a pool is in the scope. Own parameters: the seconds of silence after which a host
 * is lost, and the scope. */
extern const struct page_list migration_list;
bool migration_store_show(struct db *db, const char *id, int host_lost_after_s, char **text,
                          struct error *err) must_check;
/* How long migration_store_show() stays true while nothing is written: until the next of its hosts
 * has been silent for too long. 0: as long as nothing is written; -1: not even that, it is queued.
 */
bool migration_store_steady_ms(struct db *db, const char *id, int host_lost_after_s, int64_t *ms,
                               struct error *err) must_check;
