/* HTTPS calls with a JSON body (libcurl). One object is used by one thread. */
#pragma once

#include "base/buffer.h"
#include "base/error.h"

#include <stdatomic.h>

struct http_client;

/* Whom to trust and who we are: PEM texts, read during each call. Without `ca` nothing is checked;
 * that is for learning a CA to compare, never for sending a secret. */
struct http_client_trust {
    const char *ca, *certificate, *key; /* certificate and key may be NULL */
};

bool http_client_open(struct http_client **out, const atomic_bool *is_stopped /* may be NULL */,
                      struct error *err) must_check;
void http_client_close(struct http_client *client);
/* POSTs `body` to base + path. `answer` is cleared and filled. A problem document of the
 * coordinator becomes an error with its detail. Ends early with ERROR_CANCELLED when *is_stopped.
 */
bool http_client_post(struct http_client *client, const char *base, const char *path,
                      const struct http_client_trust *trust, const char *body, int timeout_s,
                      struct buffer *answer, struct error *err) must_check;
/* The certificates that the server shows, PEM, in order, each visited until `visit` returns true;
 * *was_found says whether one did. Nothing is checked and nothing is sent but a handshake. */
typedef bool http_client_visit(void *context, const char *pem);
bool http_client_chain(struct http_client *client, const char *base, http_client_visit *visit,
                       void *context, bool *was_found, struct error *err) must_check;
