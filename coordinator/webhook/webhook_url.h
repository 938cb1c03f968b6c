/* Where a webhook may point: never at the coordinator's own machine or at what only a machine's
 * neighbours can reach, such as a cloud's metadata. */
#pragma once

#include "base/error.h"

struct sockaddr;

/* https, or http to loopback when that is allowed at all; no user and password, no fragment.
 * ERROR_INVALID says what was expected, and never repeats the URL. */
bool webhook_url_check(const char *url, bool is_loopback_allowed, struct error *err) must_check;
/* The same for an address that a name stands for now: asked for each connection. ERROR_REFUSED. */
bool webhook_address_check(const struct sockaddr *address, bool is_loopback_allowed,
                           struct error *err) must_check;
