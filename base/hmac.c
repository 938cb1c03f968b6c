/* HMAC by OpenSSL; see hmac.h. */
#include "base/hmac.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>

void hmac_sha256_hex(const void *key, size_t key_size, const void *data, size_t size, char out[65])
{
    static const char digits[] = "0123456789abcdef";
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int digest_size = 0;
    if (!HMAC(EVP_sha256(), key, (int)key_size, data, size, digest, &digest_size) ||
        digest_size != 32)
        abort(); /* only memory can be missing */
    for (size_t i = 0; i < 32; i++) {
        out[i * 2] = digits[digest[i] >> 4];
        out[i * 2 + 1] = digits[digest[i] & 15];
    }
    out[64] = '\0';
}
