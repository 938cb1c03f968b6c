/* Two hosts of one CA, a foreign CA, and a link server whose streams a test takes one by one. */
#pragma once

#include "agent/link/link.h"

#include <openssl/ssl.h>

struct identity { /* PEM texts */
    char id[UUID_SIZE];
    char *ca, *certificate, *key;
};

extern struct identity source, destination; /* of our CA */
extern struct identity expired;             /* source's id, our CA, not valid any more */
extern struct identity foreign;             /* source's id, another CA of the same name */
extern struct identity server_only;         /* our CA, not a host */

void fixture_start(void); /* makes identities and the server at destination */
void fixture_stop(void);

struct link_files fixture_files(const struct identity *identity);
extern struct link_server *fixture_server;
int fixture_port(void);
/* The hello that fixture_connect says. */
extern const struct link_hello fixture_hello;

/* What the server does with a hello. */
enum fixture_policy { FIXTURE_ACCEPT, FIXTURE_REFUSE, FIXTURE_CLOSE };
extern enum fixture_policy fixture_policy;

/* From `who` to destination. */
bool fixture_connect(const struct identity *who, struct link_stream **out, struct error *err);
/* The accepting end of the oldest stream not taken yet; waits for it. */
struct link_stream *fixture_take(char peer_host[UUID_SIZE], struct link_hello *hello);
/* Both ends of one stream. */
void fixture_pair(struct link_stream **near, struct link_stream **far);

/* A TLS client of its own to destination: identity may be NULL, versions as OpenSSL names them. */
SSL *fixture_tls(const struct identity *identity, int version, bool has_alpn);
void fixture_tls_close(SSL *ssl);
