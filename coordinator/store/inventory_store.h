/* What hosts report of themselves. */
#pragma once

#include "coordinator/db/db.h"
#include "protocol/inventory.h"

/* Inside a transaction: replaces what was known of the host, touching only rows that changed. A
 * generation that is not newer than the stored one is left out. */
bool inventory_store_apply(struct db *db, const char *host, int64_t generation,
                           const struct inventory *inventory, struct error *err) must_check;
/* The host, which counts as lost after lost_after_s of silence, was heard of now; writes that at
 * most once a second. */
bool inventory_store_seen(struct db *db, const char *host, int lost_after_s,
                          struct error *err) must_check;
/* The same of many, to travel with others of which none needs to wait for the disk. params: an
 * array of the hosts, and the seconds. */
struct db_statement inventory_store_seen_statement(const char *const params[2]);

/* Inventories of the host up to this generation are left out from now on; 0 = none. */
struct outdated_host {
    const char *id;
    int64_t generation;
    bool is_held; /* not yet: somebody has the host's row locked, so one of them may be under way */
};
/* Outside of a transaction. With `waits` those under way are waited for, and no host is held. */
bool inventory_store_outdate(struct db *db, struct outdated_host *const hosts[], size_t count,
                             bool waits, struct error *err) must_check;
/* How far its clock is ahead; small changes are left out. What is news: it went beyond most_ms, or
 * came back. */
struct clock_news {
    bool is_off, is_right_again;
};
bool inventory_store_clock(struct db *db, const char *host, int64_t offset_ms, int64_t most_ms,
                           struct clock_news *news, struct error *err) must_check;
/* Hosts that were silent for so long are not up any more, until they report again. */
bool inventory_store_lose_silent(struct db *db, int seconds, struct error *err) must_check;
