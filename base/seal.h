/* Text that only who has the secret can read again (AES-256-GCM, OpenSSL). */
#pragma once

#include "base/error.h"

#define SEAL_KEY_SIZE 32

/* A key for one purpose out of a secret of at least 128 random bits: HMAC-SHA-256. */
void seal_key(const char *secret, const char *purpose, unsigned char key[SEAL_KEY_SIZE]);
/* Lower-case hex of nonce, sealed text and tag; owned. */
char *seal_close(const unsigned char key[SEAL_KEY_SIZE], const char *text);
/* ERROR_INVALID when it was sealed with another key, or was changed. */
bool seal_open(const unsigned char key[SEAL_KEY_SIZE], const char *sealed, char **text,
               struct error *err) must_check;
