/* The peer link: all bytes between two agents go through one TLS 1.3 port with certificates on both
 * sides. A stream opens with a hello line (JSON, at most 1 KiB) and an answer line; then bytes flow
 * both ways. The accepting side knows the peer's host id from its certificate, the connecting side
 * demands the host id that the step names. */
#pragma once

#include "base/error.h"
#include "base/json.h"
#include "protocol/vocabulary.h"

enum link_channel { LINK_MIRROR, LINK_COPY, LINK_MEMORY, LINK_CONTROL };
extern const char *const link_channel_names[];

struct link_hello {
    char migration[UUID_SIZE];
    enum link_channel channel;
    int64_t epoch; /* MIRROR, COPY: mirror epoch of the disk; others: handoff epoch */
    int disk;      /* MIRROR, COPY */
};

struct link_files { /* PEM texts, copied */
    const char *ca, *certificate, *key;
};
struct link_stream; /* one TLS connection; one thread at a time may read, one may write */

/* Accepting side. `on_stream` runs on a thread of its own per stream, after the hello was read;
 * it must call link_accept or link_refuse, then owns the stream (link_close). */
struct link_server;
typedef void link_on_stream(void *context, struct link_stream *stream, const char *peer_host,
                            const struct link_hello *hello);
bool link_listen(struct link_server **out, const char *address, int port,
                 const struct link_files *files, link_on_stream *on_stream, void *context,
                 struct error *err) must_check;
/* The port it listens on; the one the system chose when `port` was 0. */
int link_server_port(const struct link_server *server);
void link_server_close(struct link_server *server); /* closes all its streams, joins threads */
/* New certificate for connections from now on (renewal). */
bool link_server_renew(struct link_server *server, const struct link_files *files,
                       struct error *err) must_check;
bool link_accept(struct link_stream *stream, struct error *err) must_check;
void link_refuse(struct link_stream *stream, const struct error *why);

/* Connecting side: TCP, TLS, the peer must be `host`, hello, answer; all within timeout_ms. A
 * refusal is returned with the peer's code and text. */
bool link_connect(struct link_stream **out, const char *host, const char *address, int port,
                  const struct link_files *files, const struct link_hello *hello, int timeout_ms,
                  struct error *err) must_check;

/* Blocking I/O on a stream. Timeout -1: none; ERROR_TIMEOUT leaves the stream usable only to close.
 */
bool link_read(struct link_stream *stream, void *data, size_t size, int timeout_ms, size_t *got,
               struct error *err) must_check; /* *got == 0: end */
bool link_read_all(struct link_stream *stream, void *data, size_t size, int timeout_ms,
                   struct error *err) must_check;
bool link_write_all(struct link_stream *stream, const void *data, size_t size, int timeout_ms,
                    struct error *err) must_check;
/* Wakes every thread blocked on it with an error; any thread. */
void link_shutdown(struct link_stream *stream);
void link_close(struct link_stream *stream); /* NULL is fine */

/* A relay splices a stream with a local unix socket until either side ends.
 *
 * Listening (source): binds `path`, accepts exactly one local client. Connecting (destination):
 * connects to `path`. With `watch_nbd` the relay follows the NBD framing: when a request (or a
 * handshake step) of the local client has been unanswered for stall_limit_ms, it closes the local
 * socket at once, so that the guest goes on, and ends the stream. */
struct link_relay;
struct link_relay_options {
    const char *path;
    bool is_listening;
    bool watch_nbd;
    int stall_limit_ms;
    int64_t bandwidth_bytes_per_s; /* towards the peer; 0 = none */
};
struct link_relay_status {
    bool has_ended;
    bool has_stalled; /* the watchdog closed it */
    uint64_t sent_bytes, received_bytes;
    uint64_t written_bytes;  /* watch_nbd: payload of answered NBD writes and zeroes */
    int64_t longest_wait_ms; /* watch_nbd: the longest any request waited */
    int64_t recent_wait_ms;  /* watch_nbd: the same since the status was last asked for */
    int outstanding;         /* watch_nbd: requests not answered now */
};
/* Takes the stream over (also on failure). */
bool link_relay_start(struct link_relay **out, struct link_stream *stream,
                      const struct link_relay_options *options, struct error *err) must_check;
/* Splices the stream with a connected local socket `fd` instead; takes both over. */
bool link_relay_start_fd(struct link_relay **out, struct link_stream *stream, int fd,
                         const struct link_relay_options *options, struct error *err) must_check;
void link_relay_status(struct link_relay *relay, struct link_relay_status *out);
/* Returns when it has ended or after timeout_ms (-1: none); true = ended. */
bool link_relay_wait(struct link_relay *relay, int timeout_ms);
/* Closes both sides, local first, joins, frees; NULL is fine. */
void link_relay_stop(struct link_relay *relay);
