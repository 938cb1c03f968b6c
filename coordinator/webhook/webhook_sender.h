/* Delivers to webhooks, on threads of its own. Any number of coordinators do; a webhook is served
 * by one at a time. */
#pragma once

#include "base/error.h"

struct db_pool;
struct webhook_sender;

struct webhook_sender_config {
    const char *ca; /* file of further trusted certificates, or NULL */
    bool is_loopback_allowed;
    int give_up_after_s;
};

bool webhook_sender_start(struct webhook_sender **out, struct db_pool *pool,
                          const struct webhook_sender_config *config, struct error *err) must_check;
/* There may be something to deliver. Any thread. */
void webhook_sender_wake(struct webhook_sender *sender);
/* Breaks running calls off, which are repeated by whoever comes next; NULL is fine. */
void webhook_sender_stop(struct webhook_sender *sender);
