/* What is to be sent to webhooks, and how that went. A webhook is leased for a while by the one
 * that delivers, so that its events come one after the other; who dies lets the lease run out, and
 * what it had sent without writing that down is sent again. */
#pragma once

#include "coordinator/store/page.h"

/* For each of the `count` events above `after` one delivery to each enabled webhook that chose it.
 */
bool webhook_delivery_fan_out(struct db *db, int64_t after, int64_t count,
                              struct error *err) must_check;
/* A delivery that tells only that it works; *text (owned) is it. ERROR_CONFLICT: the webhook is not
 * enabled. */
bool webhook_delivery_test(struct db *db, const char *webhook, char **text,
                           struct error *err) must_check;
extern const struct page_list webhook_delivery_list; /* its own parameter: the webhook */
/* A dead one is tried again, from the start; inside a transaction. The texts (owned) are what it
 * was and what it is. ERROR_NOT_FOUND; ERROR_CONFLICT: it is not dead. */
bool webhook_delivery_retry(struct db *db, const char *webhook, const char *delivery, char **before,
                            char **after, struct error *err) must_check;
/* Removes at most `limit` that ended longer ago than `hours`. */
bool webhook_delivery_expire(struct db *db, int hours, int limit, struct error *err) must_check;

/* ---- delivering ---- */

/* Leases a webhook that has something due, the one that waited longest. */
bool webhook_delivery_lease(struct db *db, const char *owner, int seconds, char webhook[UUID_SIZE],
                            bool *is_found, struct error *err) must_check;
/* Gives the lease back. */
bool webhook_delivery_release(struct db *db, const char *owner, const char *webhook,
                              struct error *err) must_check;

struct webhook_delivery {
    char id[UUID_SIZE];
    char webhook[UUID_SIZE];
    char *url, *secret;
    char *event; /* its sequence, or the id of a test call */
    char *kind, *body;
    int attempts; /* before this one */
    int failures; /* of the webhook, in a row */
};
/* Owned texts; the secret is wiped. */
void webhook_delivery_done(struct webhook_delivery *delivery);
/* The next one that is due, and a longer lease; *is_found false: none, or the lease was lost. */
bool webhook_delivery_next(struct db *db, const char *owner, int seconds, const char *webhook,
                           struct webhook_delivery *out, bool *is_found,
                           struct error *err) must_check;
/* Ends it. */
bool webhook_delivery_accepted(struct db *db, const struct webhook_delivery *delivery, long status,
                               struct error *err) must_check;

struct webhook_failure {
    bool is_away; /* the receiver as a whole: all its deliveries wait */
    long status;  /* 0: no answer */
    const char *text;
    int64_t delay_ms;
    int give_up_after_s; /* what is tried for longer is dead */
};
bool webhook_delivery_failed(struct db *db, const struct webhook_delivery *delivery,
                             const struct webhook_failure *failure, struct error *err) must_check;
