/* The table idempotency: answers that were given under a caller's key. */
#pragma once

#include "coordinator/db/db.h"

enum { IDEMPOTENCY_LOCATION = 256, IDEMPOTENCY_TYPE = 64 };

struct idempotency_record {
    char request_hash[65];
    int status;
    char content_type[IDEMPOTENCY_TYPE];
    char location[IDEMPOTENCY_LOCATION];
    int retry_after_s;
    char *sealed_body; /* owned; NULL: no body */
};
void idempotency_record_done(struct idempotency_record *record);

/* Takes the key until the transaction ends, without waiting: *is_taken is false while another
 * transaction, of any coordinator, has it. */
bool idempotency_store_lock(struct db *db, const char *token, const char *key, bool *is_taken,
                            struct error *err) must_check;
/* What was answered under the key. */
bool idempotency_store_find(struct db *db, const char *token, const char *key,
                            struct idempotency_record *record, bool *is_found,
                            struct error *err) must_check;
bool idempotency_store_keep(struct db *db, const char *token, const char *key,
                            const struct idempotency_record *record, struct error *err) must_check;
/* Removes what has expired, some at a time. */
bool idempotency_store_sweep(struct db *db, struct error *err) must_check;
