/* What hosts report of themselves. */
#pragma once

#include "coordinator/db/db.h"
#include "protocol/inventory.h"

/* Inside a transaction: replaces what was known of the host, touching only rows that changed. A
 * generation that is not newer than the stored one is left out. */
bool inventory_store_apply(struct db *db, const char *host, int64_t generation,
                           const struct inventory *inventory, struct error *err) must_check;
/* Outside of a transaction: the host, which counts as lost after lost_after_s of silence, was heard
 * of now. Writes at most once a second. `outdated` > 0: inventories up to this generation are left
 * out from now on, also those that are under way. */
bool inventory_store_seen(struct db *db, const char *host, int lost_after_s, int64_t outdated,
                          struct error *err) must_check;
/* The same, without the last, to travel with others of which none needs to wait for the disk.
 * params: the host and the seconds. */
enum { HOST_SEEN_STATEMENTS = 2 };
void inventory_store_seen_statements(const char *const params[2],
                                     struct db_statement out[HOST_SEEN_STATEMENTS]);
/* How far its clock is ahead; small changes are left out. What is news: it went beyond most_ms, or
 * came back. */
struct clock_news {
    bool is_off, is_right_again;
};
bool inventory_store_clock(struct db *db, const char *host, int64_t offset_ms, int64_t most_ms,
                           struct clock_news *news, struct error *err) must_check;
/* Hosts that were silent for so long are not up any more, until they report again. */
bool inventory_store_lose_silent(struct db *db, int seconds, struct error *err) must_check;
