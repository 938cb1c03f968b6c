/* Signs deliveries; see webhook_signature.h. */
#include "coordinator/webhook/webhook_signature.h"

#include "base/cleanup.h"
#include "base/hmac.h"
#include "base/memory.h"

#include <inttypes.h>
#include <string.h>

void webhook_signature(const char *secret, int64_t unix_s, const char *body,
                       char out[WEBHOOK_SIGNATURE_SIZE])
{
    char digest[65];
    auto_free char *signed_text = memory_format("%" PRId64 ".%s", unix_s, body);
    hmac_sha256_hex(secret, strlen(secret), signed_text, strlen(signed_text), digest);
    snprintf(out, WEBHOOK_SIGNATURE_SIZE, "t=%" PRId64 ",v1=%s", unix_s, digest);
}
