/* Follows both directions of one NBD connection without keeping any payload, to know what the local
 * client waits for. Pure: no I/O, no clock; the caller feeds bytes in the order in which it passes
 * them on (a client's bytes before the answer to them) and says what time it is.
 *
 * Understood is what QEMU and libnbd speak: fixed newstyle negotiation without TLS, simple and
 * structured replies. Anything else is an error, after which the watch must not be used.
 * Source of all numbers: the NBD protocol, doc/proto.md of the NetworkBlockDevice project. */
#pragma once

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

enum {
    NBD_WATCH_REQUESTS = 1024, /* outstanding at once; more is an error */
    NBD_WATCH_BUCKETS = 1024,
    NBD_WATCH_LONGEST_HEADER = 134, /* the old answer to NBD_OPT_EXPORT_NAME with its zeroes */
    NBD_WATCH_OPTION_LIMIT = 1 << 20,
};

struct nbd_request {
    uint64_t cookie;
    int64_t since_ms;
    uint32_t length;
    uint16_t type;
    bool has_failed;         /* an error chunk of its structured reply came */
    uint16_t older, newer;   /* the list by age; an index into requests */
    uint16_t next_in_bucket; /* also the free list */
};

/* One direction: a header that is being collected, or payload that is being skipped. */
struct nbd_cursor {
    uint8_t header[NBD_WATCH_LONGEST_HEADER];
    size_t have;
    uint64_t skip;
};

enum nbd_phase {
    NBD_GREETING,     /* the server speaks first */
    NBD_CLIENT_FLAGS, /* the client answers with its flags */
    NBD_OPTIONS,      /* one option at a time, each answered */
    NBD_TRANSMISSION, /* requests and replies */
    NBD_ABORTED,      /* NBD_OPT_ABORT was answered: nothing may follow */
};

struct nbd_watch {
    enum nbd_phase phase;
    struct nbd_cursor client, server;
    bool has_structured_replies, has_no_zeroes, has_server_no_zeroes;
    bool has_disconnected; /* NBD_CMD_DISC was sent */

    bool is_handshake_waiting; /* the client waits for the greeting or an option's answer */
    int64_t handshake_since_ms;
    uint32_t option;    /* the one that waits, 0 = none */
    bool ends_option;   /* the reply whose data is being skipped is the option's last */
    uint16_t finishing; /* request whose last reply data is being skipped */

    uint64_t written_bytes;
    int64_t longest_wait_ms;
    int64_t recent_wait_ms; /* the same since the owner set it to 0; answered ones only */
    int outstanding;
    uint16_t oldest, newest, free_list;
    uint16_t buckets[NBD_WATCH_BUCKETS];
    struct nbd_request requests[NBD_WATCH_REQUESTS];
};

/* The client has just connected and waits for the server's greeting. */
void nbd_watch_init(struct nbd_watch *watch, int64_t now_ms);
/* Bytes of the local client, or of the server. Times never decrease. */
bool nbd_watch_client(struct nbd_watch *watch, const void *data, size_t size, int64_t now_ms,
                      struct error *err) must_check;
bool nbd_watch_server(struct nbd_watch *watch, const void *data, size_t size, int64_t now_ms,
                      struct error *err) must_check;

/* Requests without their whole answer; a handshake step that waits counts as one. */
int nbd_watch_outstanding(const struct nbd_watch *watch);
/* How long the oldest of them has waited; 0 when there is none. */
int64_t nbd_watch_oldest_ms(const struct nbd_watch *watch, int64_t now_ms);
/* The longest that any has waited so far, answered or not. */
int64_t nbd_watch_longest_ms(const struct nbd_watch *watch, int64_t now_ms);
