/* See nbd_watch.h. Headers are collected in a cursor per direction, payload is only counted down.
 */
#include "agent/link/nbd_watch.h"

#include <inttypes.h>
#include <string.h>

#define MAGIC_NBD     UINT64_C(0x4e42444d41474943) /* "NBDMAGIC" */
#define MAGIC_OPTION  UINT64_C(0x49484156454f5054) /* "IHAVEOPT" */
#define MAGIC_REPLY   UINT64_C(0x0003e889045565a9)
#define MAGIC_REQUEST UINT32_C(0x25609513)
#define MAGIC_SIMPLE  UINT32_C(0x67446698)
#define MAGIC_CHUNK   UINT32_C(0x668e33ef)

enum {
    GREETING_SIZE = 18,
    CLIENT_FLAGS_SIZE = 4,
    OPTION_SIZE = 16,
    OPTION_REPLY_SIZE = 20,
    EXPORT_SIZE = 10, /* answer to NBD_OPT_EXPORT_NAME */
    EXPORT_SIZE_WITH_ZEROES = 134,
    REQUEST_SIZE = 28,
    SIMPLE_SIZE = 16,
    CHUNK_SIZE = 20,
};
enum { FLAG_FIXED_NEWSTYLE = 1, FLAG_NO_ZEROES = 2 };
enum {
    OPTION_EXPORT_NAME = 1,
    OPTION_ABORT = 2,
    OPTION_STARTTLS = 5,
    OPTION_GO = 7,
    OPTION_STRUCTURED_REPLY = 8,
    OPTION_EXTENDED_HEADERS = 11,
};
enum { REPLY_ACK = 1, REPLY_LAST_KNOWN = 4 };
#define REPLY_IS_ERROR UINT32_C(0x80000000)
enum {
    COMMAND_READ = 0,
    COMMAND_WRITE = 1,
    COMMAND_DISCONNECT = 2,
    COMMAND_WRITE_ZEROES = 6,
    COMMAND_LAST_KNOWN = 7,
};
enum { CHUNK_IS_DONE = 1, CHUNK_IS_ERROR = 0x8000, CHUNK_HOLE = 2, CHUNK_BLOCK_STATUS = 5 };

#define NONE UINT16_MAX

static uint16_t be16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}
static uint32_t be32(const uint8_t *p)
{
    return (uint32_t)be16(p) << 16 | be16(p + 2);
}
static uint64_t be64(const uint8_t *p)
{
    return (uint64_t)be32(p) << 32 | be32(p + 4);
}

/* --- outstanding requests --- */

static uint16_t *bucket_of(struct nbd_watch *watch, uint64_t cookie)
{
    /* Fibonacci hashing: cookies are counters or addresses */
    return &watch->buckets[cookie * UINT64_C(0x9e3779b97f4a7c15) >> 54];
}

static uint16_t find_request(struct nbd_watch *watch, uint64_t cookie)
{
    uint16_t i = *bucket_of(watch, cookie);
    while (i != NONE && watch->requests[i].cookie != cookie)
        i = watch->requests[i].next_in_bucket;
    return i;
}

static bool add_request(struct nbd_watch *watch, const uint8_t *header, int64_t now_ms,
                        struct error *err)
{
    uint64_t cookie = be64(header + 8);
    if (find_request(watch, cookie) != NONE)
        return error_set(err, ERROR_INVALID, "NBD client: cookie %#" PRIx64 " is used twice",
                         cookie);
    uint16_t i = watch->free_list;
    if (i == NONE)
        return error_set(err, ERROR_INVALID, "NBD client: more than %d requests are outstanding",
                         NBD_WATCH_REQUESTS);
    struct nbd_request *request = &watch->requests[i];
    watch->free_list = request->next_in_bucket;
    uint16_t *bucket = bucket_of(watch, cookie);
    *request = (struct nbd_request){
        .cookie = cookie,
        .since_ms = now_ms,
        .length = be32(header + 24),
        .type = be16(header + 6),
        .older = watch->newest,
        .newer = NONE,
        .next_in_bucket = *bucket,
    };
    *bucket = i;
    if (watch->newest == NONE)
        watch->oldest = i;
    else
        watch->requests[watch->newest].newer = i;
    watch->newest = i;
    watch->outstanding++;
    return true;
}

static void note_wait(struct nbd_watch *watch, int64_t since_ms, int64_t now_ms)
{
    if (now_ms - since_ms > watch->longest_wait_ms)
        watch->longest_wait_ms = now_ms - since_ms;
    if (now_ms - since_ms > watch->recent_wait_ms)
        watch->recent_wait_ms = now_ms - since_ms;
}

static void finish_request(struct nbd_watch *watch, uint16_t i, int64_t now_ms)
{
    struct nbd_request *request = &watch->requests[i];
    note_wait(watch, request->since_ms, now_ms);
    bool is_write = request->type == COMMAND_WRITE || request->type == COMMAND_WRITE_ZEROES;
    if (is_write && !request->has_failed)
        watch->written_bytes += request->length;

    uint16_t *link = bucket_of(watch, request->cookie);
    while (*link != i)
        link = &watch->requests[*link].next_in_bucket;
    *link = request->next_in_bucket;
    if (request->older == NONE)
        watch->oldest = request->newer;
    else
        watch->requests[request->older].newer = request->newer;
    if (request->newer == NONE)
        watch->newest = request->older;
    else
        watch->requests[request->newer].older = request->older;
    request->next_in_bucket = watch->free_list;
    watch->free_list = i;
    watch->outstanding--;
}

/* --- handshake --- */

static void begin_waiting(struct nbd_watch *watch, int64_t now_ms)
{
    watch->is_handshake_waiting = true;
    watch->handshake_since_ms = now_ms;
}

static void end_waiting(struct nbd_watch *watch, int64_t now_ms)
{
    note_wait(watch, watch->handshake_since_ms, now_ms);
    watch->is_handshake_waiting = false;
}

static bool take_greeting(struct nbd_watch *watch, const uint8_t *header, int64_t now_ms,
                          struct error *err)
{
    if (be64(header) != MAGIC_NBD || be64(header + 8) != MAGIC_OPTION)
        return error_set(err, ERROR_UNSUPPORTED,
                         "NBD server: the greeting is not that of newstyle negotiation");
    if (!(be16(header + 16) & FLAG_FIXED_NEWSTYLE))
        return error_set(err, ERROR_UNSUPPORTED, "NBD server: fixed newstyle is not offered");
    watch->has_server_no_zeroes = be16(header + 16) & FLAG_NO_ZEROES;
    end_waiting(watch, now_ms);
    watch->phase = NBD_CLIENT_FLAGS;
    return true;
}

static bool take_option(struct nbd_watch *watch, const uint8_t *header, int64_t now_ms,
                        struct error *err)
{
    uint32_t option = be32(header + 8), length = be32(header + 12);
    if (be64(header) != MAGIC_OPTION)
        return error_set(err, ERROR_INVALID, "NBD client: wrong magic %#" PRIx64 " of an option",
                         be64(header));
    if (watch->option)
        return error_set(err, ERROR_INVALID,
                         "NBD client: option %" PRIu32 " before the answer to option %" PRIu32,
                         option, watch->option);
    if (option == 0 || length > NBD_WATCH_OPTION_LIMIT)
        return error_set(err, ERROR_INVALID, "NBD client: option %" PRIu32 " of %" PRIu32 " bytes",
                         option, length);
    watch->client.skip = length;
    watch->option = option;
    begin_waiting(watch, now_ms);
    return true;
}

/* The server's last word on the option: what it changes. */
static bool finish_option(struct nbd_watch *watch, bool is_granted, int64_t now_ms,
                          struct error *err)
{
    uint32_t option = watch->option;
    if (is_granted && (option == OPTION_STARTTLS || option == OPTION_EXTENDED_HEADERS))
        return error_set(err, ERROR_UNSUPPORTED,
                         "NBD: option %" PRIu32 " was agreed on, which cannot be followed", option);
    watch->option = 0;
    end_waiting(watch, now_ms);
    if (is_granted && option == OPTION_STRUCTURED_REPLY)
        watch->has_structured_replies = true;
    if (is_granted && (option == OPTION_GO || option == OPTION_EXPORT_NAME))
        watch->phase = NBD_TRANSMISSION;
    if (option == OPTION_ABORT)
        watch->phase = NBD_ABORTED;
    return true;
}

static bool take_option_reply(struct nbd_watch *watch, const uint8_t *header, int64_t now_ms,
                              struct error *err)
{
    uint32_t option = be32(header + 8), type = be32(header + 12), length = be32(header + 16);
    if (be64(header) != MAGIC_REPLY)
        return error_set(err, ERROR_INVALID,
                         "NBD server: wrong magic %#" PRIx64 " of an option's answer",
                         be64(header));
    if (option != watch->option)
        return error_set(err, ERROR_INVALID,
                         "NBD server: an answer to option %" PRIu32
                         ", the client waits for %" PRIu32,
                         option, watch->option);
    bool is_error = type & REPLY_IS_ERROR;
    if ((!is_error && (type == 0 || type > REPLY_LAST_KNOWN)) || length > NBD_WATCH_OPTION_LIMIT ||
        (type == REPLY_ACK && length > 0))
        return error_set(err, ERROR_UNSUPPORTED,
                         "NBD server: answer of type %#" PRIx32 " and %" PRIu32
                         " bytes to option %" PRIu32,
                         type, length, option);
    watch->server.skip = length;
    if (type == REPLY_ACK)
        return finish_option(watch, true, now_ms, err);
    watch->ends_option = is_error;
    return true;
}

/* --- transmission --- */

static bool take_request(struct nbd_watch *watch, const uint8_t *header, int64_t now_ms,
                         struct error *err)
{
    uint16_t type = be16(header + 6);
    if (be32(header) != MAGIC_REQUEST)
        return error_set(err, ERROR_INVALID, "NBD client: wrong magic %#" PRIx32 " of a request",
                         be32(header));
    if (type > COMMAND_LAST_KNOWN)
        return error_set(err, ERROR_UNSUPPORTED, "NBD client: command %u is not known", type);
    if (type == COMMAND_DISCONNECT) {
        watch->has_disconnected = true;
        return true;
    }
    if (!add_request(watch, header, now_ms, err))
        return false;
    if (type == COMMAND_WRITE)
        watch->client.skip = be32(header + 24);
    return true;
}

static bool find_answered(struct nbd_watch *watch, uint64_t cookie, uint16_t *i, struct error *err)
{
    *i = find_request(watch, cookie);
    if (*i == NONE)
        return error_set(err, ERROR_INVALID,
                         "NBD server: a reply with cookie %#" PRIx64 ", which no request has",
                         cookie);
    return true;
}

static bool take_simple_reply(struct nbd_watch *watch, const uint8_t *header, struct error *err)
{
    uint16_t i;
    if (!find_answered(watch, be64(header + 8), &i, err))
        return false;
    struct nbd_request *request = &watch->requests[i];
    request->has_failed = be32(header + 4) != 0;
    if (request->type == COMMAND_READ && !request->has_failed) {
        if (watch->has_structured_replies)
            return error_set(
                err, ERROR_INVALID,
                "NBD server: a simple reply to a read, structured replies were agreed");
        watch->server.skip = request->length;
    }
    watch->finishing = i;
    return true;
}

static bool take_chunk(struct nbd_watch *watch, const uint8_t *header, struct error *err)
{
    uint16_t i, flags = be16(header + 4), type = be16(header + 6);
    bool is_error = type & CHUNK_IS_ERROR;
    if (!is_error && type > CHUNK_HOLE && type != CHUNK_BLOCK_STATUS)
        return error_set(err, ERROR_UNSUPPORTED, "NBD server: reply chunk of unknown type %u",
                         type);
    if (!find_answered(watch, be64(header + 8), &i, err))
        return false;
    if (is_error)
        watch->requests[i].has_failed = true;
    watch->server.skip = be32(header + 16);
    if (flags & CHUNK_IS_DONE)
        watch->finishing = i;
    return true;
}

static bool take_reply(struct nbd_watch *watch, const uint8_t *header, struct error *err)
{
    return be32(header) == MAGIC_SIMPLE ? take_simple_reply(watch, header, err)
                                        : take_chunk(watch, header, err);
}

/* --- the two directions --- */

/* Size of the next header, as far as its first bytes tell; 0: nothing may come now. */
static size_t client_header_size(const struct nbd_watch *watch)
{
    switch (watch->phase) {
    case NBD_CLIENT_FLAGS:
        return CLIENT_FLAGS_SIZE;
    case NBD_OPTIONS:
        return OPTION_SIZE;
    case NBD_TRANSMISSION:
        return watch->has_disconnected ? 0 : REQUEST_SIZE;
    default:
        return 0;
    }
}

static size_t reply_size(const struct nbd_watch *watch)
{
    const struct nbd_cursor *cursor = &watch->server;
    if (cursor->have < 4)
        return 4;
    if (be32(cursor->header) == MAGIC_SIMPLE)
        return SIMPLE_SIZE;
    return be32(cursor->header) == MAGIC_CHUNK && watch->has_structured_replies ? CHUNK_SIZE : 0;
}

static size_t server_header_size(const struct nbd_watch *watch)
{
    switch (watch->phase) {
    case NBD_GREETING:
        return GREETING_SIZE;
    case NBD_OPTIONS:
        if (watch->option == OPTION_EXPORT_NAME)
            return watch->has_no_zeroes ? EXPORT_SIZE : EXPORT_SIZE_WITH_ZEROES;
        return watch->option ? OPTION_REPLY_SIZE : 0;
    case NBD_TRANSMISSION:
        return reply_size(watch);
    default:
        return 0;
    }
}

static bool take_client_header(struct nbd_watch *watch, int64_t now_ms, struct error *err)
{
    const uint8_t *header = watch->client.header;
    if (watch->phase == NBD_TRANSMISSION)
        return take_request(watch, header, now_ms, err);
    if (watch->phase == NBD_OPTIONS)
        return take_option(watch, header, now_ms, err);
    watch->has_no_zeroes = watch->has_server_no_zeroes && be32(header) & FLAG_NO_ZEROES;
    watch->phase = NBD_OPTIONS;
    return true;
}

static bool take_server_header(struct nbd_watch *watch, int64_t now_ms, struct error *err)
{
    const uint8_t *header = watch->server.header;
    if (watch->phase == NBD_TRANSMISSION)
        return take_reply(watch, header, err);
    if (watch->phase == NBD_GREETING)
        return take_greeting(watch, header, now_ms, err);
    if (watch->option == OPTION_EXPORT_NAME)
        return finish_option(watch, true, now_ms, err);
    return take_option_reply(watch, header, now_ms, err);
}

/* What a server's header began is complete with its payload. */
static bool finish_server_payload(struct nbd_watch *watch, int64_t now_ms, struct error *err)
{
    if (watch->server.skip > 0)
        return true;
    if (watch->finishing != NONE) {
        finish_request(watch, watch->finishing, now_ms);
        watch->finishing = NONE;
    }
    if (!watch->ends_option)
        return true;
    watch->ends_option = false;
    return finish_option(watch, false, now_ms, err);
}

struct bytes {
    const uint8_t *data;
    size_t size;
};

static void skip_payload(struct nbd_cursor *cursor, struct bytes *bytes)
{
    size_t count = bytes->size < cursor->skip ? bytes->size : (size_t)cursor->skip;
    cursor->skip -= count;
    bytes->data += count;
    bytes->size -= count;
}

/* Takes bytes until the header has `wanted` of them. */
static void collect(struct nbd_cursor *cursor, struct bytes *bytes, size_t wanted)
{
    size_t count = wanted - cursor->have < bytes->size ? wanted - cursor->have : bytes->size;
    memcpy(cursor->header + cursor->have, bytes->data, count);
    cursor->have += count;
    bytes->data += count;
    bytes->size -= count;
}

bool nbd_watch_client(struct nbd_watch *watch, const void *data, size_t size, int64_t now_ms,
                      struct error *err)
{
    struct nbd_cursor *cursor = &watch->client;
    struct bytes bytes = {data, size};
    while (bytes.size > 0) {
        if (cursor->skip > 0) {
            skip_payload(cursor, &bytes);
            continue;
        }
        size_t wanted = client_header_size(watch);
        if (wanted == 0)
            return error_set(err, ERROR_INVALID, "NBD client: it speaks where it must not");
        collect(cursor, &bytes, wanted);
        if (cursor->have < wanted)
            return true;
        cursor->have = 0;
        if (!take_client_header(watch, now_ms, err))
            return false;
    }
    return true;
}

bool nbd_watch_server(struct nbd_watch *watch, const void *data, size_t size, int64_t now_ms,
                      struct error *err)
{
    struct nbd_cursor *cursor = &watch->server;
    struct bytes bytes = {data, size};
    while (bytes.size > 0) {
        if (cursor->skip > 0) {
            skip_payload(cursor, &bytes);
            if (!finish_server_payload(watch, now_ms, err))
                return false;
            continue;
        }
        size_t wanted = server_header_size(watch);
        if (wanted == 0)
            return error_set(err, ERROR_INVALID, "NBD server: it speaks where it must not");
        collect(cursor, &bytes, wanted);
        wanted = server_header_size(watch); /* a reply's first four bytes tell its size */
        if (wanted == 0)
            return error_set(err, ERROR_UNSUPPORTED,
                             "NBD server: a reply with magic %#" PRIx32 ", which is not understood",
                             be32(cursor->header));
        if (cursor->have < wanted)
            continue;
        cursor->have = 0;
        if (!take_server_header(watch, now_ms, err) || !finish_server_payload(watch, now_ms, err))
            return false;
    }
    return true;
}

void nbd_watch_init(struct nbd_watch *watch, int64_t now_ms)
{
    memset(watch, 0, sizeof *watch);
    watch->oldest = watch->newest = watch->finishing = NONE;
    memset(watch->buckets, 0xff, sizeof watch->buckets); /* NONE */
    for (unsigned i = 0; i < NBD_WATCH_REQUESTS; i++)
        watch->requests[i].next_in_bucket = i + 1 < NBD_WATCH_REQUESTS ? (uint16_t)(i + 1) : NONE;
    begin_waiting(watch, now_ms);
}

int nbd_watch_outstanding(const struct nbd_watch *watch)
{
    return watch->outstanding + watch->is_handshake_waiting;
}

int64_t nbd_watch_oldest_ms(const struct nbd_watch *watch, int64_t now_ms)
{
    if (watch->is_handshake_waiting)
        return now_ms - watch->handshake_since_ms;
    return watch->oldest == NONE ? 0 : now_ms - watch->requests[watch->oldest].since_ms;
}

int64_t nbd_watch_longest_ms(const struct nbd_watch *watch, int64_t now_ms)
{
    int64_t oldest_ms = nbd_watch_oldest_ms(watch, now_ms);
    return oldest_ms > watch->longest_wait_ms ? oldest_ms : watch->longest_wait_ms;
}
