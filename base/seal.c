/* AES-256-GCM with a random nonce of 96 bits (NIST SP 800-38D); see seal.h. */
#include "base/seal.h"

#include "base/cleanup.h"
#include "base/memory.h"

#include <limits.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>

enum { NONCE = 12, TAG = 16 };

static void drop_context(EVP_CIPHER_CTX **context)
{
    EVP_CIPHER_CTX_free(*context);
}
#define auto_context __attribute__((cleanup(drop_context))) EVP_CIPHER_CTX

void seal_key(const char *secret, const char *purpose, unsigned char key[SEAL_KEY_SIZE])
{
    unsigned int size = 0;
    if (!HMAC(EVP_sha256(), secret, (int)strlen(secret), (const unsigned char *)purpose,
              strlen(purpose), key, &size) ||
        size != SEAL_KEY_SIZE)
        abort(); /* SHA-256 is always there; only memory can be missing */
}

static char *hex_of(const unsigned char *bytes, size_t size)
{
    static const char digits[] = "0123456789abcdef";
    char *text = memory_alloc(2 * size + 1);
    for (size_t i = 0; i < size; i++) {
        text[2 * i] = digits[bytes[i] >> 4];
        text[2 * i + 1] = digits[bytes[i] & 15];
    }
    return text;
}

static int digit_of(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool bytes_of(const char *hex, size_t size, unsigned char *bytes)
{
    for (size_t i = 0; i < size; i++) {
        int high = digit_of(hex[2 * i]), low = digit_of(hex[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        bytes[i] = (unsigned char)(high << 4 | low);
    }
    return true;
}

char *seal_close(const unsigned char key[SEAL_KEY_SIZE], const char *text)
{
    size_t size = strlen(text);
    auto_free unsigned char *bytes = memory_alloc(NONCE + size + TAG);
    auto_context *context = EVP_CIPHER_CTX_new();
    int done = 0, rest = 0;
    if (!context || size > INT_MAX || RAND_bytes(bytes, NONCE) != 1 ||
        !EVP_EncryptInit_ex(context, EVP_aes_256_gcm(), NULL, key, bytes) ||
        !EVP_EncryptUpdate(context, bytes + NONCE, &done, (const unsigned char *)text, (int)size) ||
        !EVP_EncryptFinal_ex(context, bytes + NONCE + done, &rest) ||
        !EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_GET_TAG, TAG, bytes + NONCE + size))
        abort(); /* only memory or the kernel's random numbers can be missing */
    return hex_of(bytes, NONCE + size + TAG);
}

static bool decrypt(const unsigned char key[SEAL_KEY_SIZE], unsigned char *bytes, size_t size,
                    unsigned char *text)
{
    auto_context *context = EVP_CIPHER_CTX_new();
    int done = 0, rest = 0;
    if (!context)
        abort();
    return EVP_DecryptInit_ex(context, EVP_aes_256_gcm(), NULL, key, bytes) &&
           EVP_DecryptUpdate(context, text, &done, bytes + NONCE, (int)size) &&
           EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_SET_TAG, TAG, bytes + NONCE + size) &&
           EVP_DecryptFinal_ex(context, text + done, &rest) > 0;
}

bool seal_open(const unsigned char key[SEAL_KEY_SIZE], const char *sealed, char **text,
               struct error *err)
{
    size_t length = strlen(sealed);
    if (length % 2 || length / 2 < NONCE + TAG || length / 2 > INT_MAX)
        return error_set(err, ERROR_INVALID, "sealed text: it is not whole");
    size_t size = length / 2 - NONCE - TAG;
    auto_free unsigned char *bytes = memory_alloc(length / 2);
    auto_free unsigned char *opened = memory_alloc(size + 1);
    if (!bytes_of(sealed, length / 2, bytes) || !decrypt(key, bytes, size, opened))
        return error_set(err, ERROR_INVALID,
                         "sealed text: it was sealed with another key, or was changed");
    *text = (char *)take(opened);
    return true;
}
