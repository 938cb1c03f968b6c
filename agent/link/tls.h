/* TLS of the link: the contexts of both sides, who the peer is, and failures in words. */
#pragma once

#include "agent/link/link.h"

#include <openssl/ssl.h>

enum tls_side { TLS_ACCEPTS, TLS_CONNECTS };

/* TLS 1.3 only; the peer must show a certificate of our CA. The caller SSL_CTX_free()s. */
bool tls_context_new(SSL_CTX **out, enum tls_side side, const struct link_files *files,
                     struct error *err) must_check;
/* After the handshake: the peer speaks our protocol, and which host its certificate names. */
bool tls_peer_host(SSL *ssl, char host[UUID_SIZE], struct error *err) must_check;
/* Why the last operation on `ssl` failed, from this thread's OpenSSL queue, which is emptied.
 * Returns false. */
bool tls_explain(SSL *ssl, struct error *err);
