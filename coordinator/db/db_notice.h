/* Wake-ups that wait for their transaction's commit, or for the next NOTIFY. Inside coordinator/db
 * only. */
#pragma once

#include "coordinator/db/db.h"

struct db_notice {
    char channel[DB_CHANNEL_SIZE];
    char payload[DB_PAYLOAD_SIZE];
};

/* Each notice once. */
struct db_notices {
    struct db_notice *items;
    size_t count;
};

/* Beyond a limit the channel's empty payload, which wakes all, stands for the rest. */
void db_notices_add(struct db_notices *notices, const char *channel, const char *payload);
void db_notices_clear(struct db_notices *notices);

struct db_notifier;
bool db_notifier_open(struct db_notifier **out, const char *conninfo, db_on_wake *on_wake,
                      void *context, struct error *err) must_check;
/* Sends what is pending first; NULL is fine. */
void db_notifier_close(struct db_notifier *notifier);
/* Tells this process now and the others soon. Empties `notices`; NULL notifier: only that. */
void db_notifier_publish(struct db_notifier *notifier, struct db_notices *notices);
/* Process id of the server's end of its connection; 0 = none. */
int db_notifier_backend(const struct db_notifier *notifier);
void db_notifier_stats(const struct db_notifier *notifier, struct db_pool_stats *stats);
