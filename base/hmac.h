/* HMAC-SHA-256 (RFC 2104). */
#pragma once

#include <stddef.h>

/* Lower-case hex (65 bytes with NUL). */
void hmac_sha256_hex(const void *key, size_t key_size, const void *data, size_t size, char out[65]);
