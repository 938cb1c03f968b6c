/* One signed POST to a receiver, by libcurl. */
#pragma once

#include "base/error.h"

#include <stdatomic.h>

struct webhook_post; /* a client of one thread, which keeps its connections */

struct webhook_post_config {
    const char *ca; /* file of further trusted certificates; NULL: the system's alone */
    bool is_loopback_allowed;
    const atomic_bool *is_stopped; /* breaks a call off */
};
struct webhook_call {
    const char *url, *secret;
    const char *event, *kind, *delivery; /* for headers */
    const char *body;
};

bool webhook_post_open(struct webhook_post **out, const struct webhook_post_config *config,
                       struct error *err) must_check;
void webhook_post_close(struct webhook_post *post);
/* *status is the receiver's answer. ERROR_CANCELLED: it was broken off; anything else: there was no
 * answer. Redirects are answers like any other, and what else the receiver says is not read. */
bool webhook_post_send(struct webhook_post *post, const struct webhook_call *call, long *status,
                       struct error *err) must_check;
