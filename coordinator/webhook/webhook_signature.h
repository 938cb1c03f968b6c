/* The header by which a receiver knows that a delivery is ours, and when it was sent. */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum { WEBHOOK_SIGNATURE_SIZE = 96 };

/* "t=<unix seconds>,v1=<hex HMAC-SHA-256 of "<unix seconds>.<body>">" */
void webhook_signature(const char *secret, int64_t unix_s, const char *body,
                       char out[WEBHOOK_SIGNATURE_SIZE]);
