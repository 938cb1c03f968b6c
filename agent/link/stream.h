/* One TLS connection on a non-blocking socket. OpenSSL never waits here: it writes into a buffer of
 * ours, which is sent when the socket takes it, so that nothing can be stuck inside it and one send
 * carries many records. `lock` orders a reader and a writer thread; waiting happens outside. */
#pragma once

#include "agent/link/link.h"

#include <openssl/ssl.h>
#include <pthread.h>
#include <stdatomic.h>

enum {
    STREAM_BATCH = 128 << 10,                    /* plaintext that is encrypted before it is sent */
    STREAM_OUTGOING = STREAM_BATCH + (64 << 10), /* with record headers, tags, and alerts */
};

struct stream_set;

struct link_stream {
    int fd;
    int wake_fd; /* eventfd, readable for ever after link_shutdown */
    atomic_bool is_shut_down;
    char peer[96]; /* "address port N", for logs and errors */

    pthread_mutex_t lock; /* all below */
    SSL *ssl;
    char *outgoing; /* ciphertext not sent yet */
    size_t outgoing_start, outgoing_end;
    uint64_t records_per_key; /* then the key is replaced */
    uint64_t records_left;
    bool has_socket_ended; /* recv said 0 */
    int socket_errno;      /* of the last failed recv */
    bool has_failed, has_write_failed;
    /* What every operation returns from then on. A failed send leaves reading possible: what the
     * peer sent before it went away can still be had. */
    struct error failure, write_failure;

    struct stream_set *set; /* the server's, or NULL */
    struct link_stream *next, *previous;
};

/* Takes `fd` over, also on failure. */
bool stream_open(struct link_stream **out, int fd, SSL_CTX *context, const char *peer,
                 struct error *err) must_check;

/* CLOCK_MONOTONIC milliseconds at which `timeout_ms` from now has passed; -1: never. */
int64_t stream_deadline(int timeout_ms);
/* Waits for poll(2) events of the socket, link_shutdown (ERROR_CANCELLED) or the deadline. */
bool stream_wait(struct link_stream *stream, short events, int64_t deadline_ms,
                 struct error *err) must_check;

bool stream_handshake(struct link_stream *stream, int64_t deadline_ms,
                      struct error *err) must_check;
/* Reads up to and without the newline, at most `limit` bytes with it; nothing beyond it. */
bool stream_read_line(struct link_stream *stream, char *line, size_t limit, size_t *size,
                      int64_t deadline_ms, struct error *err) must_check;
bool stream_write_line(struct link_stream *stream, const char *line, int64_t deadline_ms,
                       struct error *err) must_check;

/* What a relay needs; these never wait. */
enum stream_io { STREAM_DONE, STREAM_AGAIN, STREAM_END, STREAM_FAILED };
/* DONE: *got > 0. END: the peer's orderly end. */
enum stream_io stream_try_read(struct link_stream *stream, void *data, size_t size, size_t *got,
                               struct error *err) must_check;
/* DONE: *taken > 0 bytes are encrypted; what the socket did not take stays in `outgoing`. */
enum stream_io stream_try_write(struct link_stream *stream, const void *data, size_t size,
                                size_t *taken, struct error *err) must_check;
/* DONE: nothing is left to send. */
enum stream_io stream_try_flush(struct link_stream *stream, struct error *err) must_check;
/* Queues our orderly end (close_notify); reading goes on. DONE: it is queued. */
enum stream_io stream_try_end(struct link_stream *stream, struct error *err) must_check;
/* DONE: established; AGAIN: bytes of the peer are missing. */
enum stream_io stream_try_handshake(struct link_stream *stream, struct error *err) must_check;
bool stream_has_outgoing(struct link_stream *stream);
/* From now on every operation fails with `why`, and closing is no orderly end. Returns false. */
bool stream_spoil(struct link_stream *stream, const struct error *why);
bool stream_attach_tls(struct link_stream *stream, SSL_CTX *context) must_check;

/* The living streams of one server. */
struct stream_set *stream_set_new(int limit);
/* ERROR_NO_SPACE beyond the limit, ERROR_CANCELLED after stream_set_close. */
bool stream_set_add(struct stream_set *set, struct link_stream *stream,
                    struct error *err) must_check;
void stream_set_remove(struct link_stream *stream); /* one that is in none is fine */
void stream_set_close(struct stream_set *set);      /* shuts all down, admits no more */
/* The server's own hold on it; it is freed after the last of its streams. */
void stream_set_release(struct stream_set *set);
