/* The NBD watch: what counts as waiting, what is counted as written, what is not understood. Every
 * conversation is fed whole, byte by byte, and in odd pieces: the result must be the same. */
#include "agent/link/nbd_watch.h"

#include "base/memory.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { CLIENT, SERVER };
enum { READ = 0, WRITE = 1, DISCONNECT = 2, FLUSH = 3, TRIM = 4, ZEROES = 6, BLOCK_STATUS = 7 };

static struct nbd_watch watch;
static size_t piece; /* bytes a call */
static int64_t now;
static struct error err;

static void start(void)
{
    now = 1000;
    piece = 1 << 20;
    nbd_watch_init(&watch, now);
}
TestSuite(nbd_watch, .init = start, .timeout = 30);

static bool feed(int side, const void *data, size_t size)
{
    for (size_t done = 0; done < size;) {
        size_t count = size - done < piece ? size - done : piece;
        const char *at = (const char *)data + done;
        bool is_fine = side == CLIENT ? nbd_watch_client(&watch, at, count, now, &err)
                                      : nbd_watch_server(&watch, at, count, now, &err);
        if (!is_fine)
            return false;
        done += count;
    }
    return true;
}

/* Big-endian fields: `format` names their bytes, '2', '4', '8', or 'z' for so many zero bytes. */
static bool say(int side, const char *format, ...)
{
    unsigned char bytes[4096];
    size_t size = 0;
    va_list values;
    va_start(values, format);
    for (const char *p = format; *p; p++) {
        uint64_t value = va_arg(values, uint64_t);
        for (int i = *p == 'z' ? -1 : *p - '1'; i >= 0; i--)
            bytes[size++] = (unsigned char)(value >> (8 * i));
        if (*p == 'z') {
            memset(bytes + size, 0, value);
            size += value;
        }
    }
    va_end(values);
    return feed(side, bytes, size);
}
#define U(x) ((uint64_t)(x))

static bool greeting(unsigned flags)
{
    return say(SERVER, "882", U(0x4e42444d41474943), U(0x49484156454f5054), U(flags));
}
static bool client_flags(unsigned flags)
{
    return say(CLIENT, "4", U(flags));
}
static bool option(unsigned number, size_t size)
{
    return say(CLIENT, "844z", U(0x49484156454f5054), U(number), U(size), U(size));
}
static bool answer(unsigned number, unsigned type, size_t size)
{
    return say(SERVER, "8444z", U(0x3e889045565a9), U(number), U(type), U(size), U(size));
}
static bool request(unsigned type, uint64_t cookie, uint32_t length)
{
    bool has_payload = type == WRITE;
    return say(CLIENT, "422884z", U(0x25609513), U(0), U(type), cookie, U(4096), U(length),
               U(has_payload && length <= 2048 ? length : 0));
}
static bool simple(uint64_t cookie, unsigned error, size_t payload)
{
    return say(SERVER, "448z", U(0x67446698), U(error), cookie, U(payload));
}
static bool chunk(uint64_t cookie, unsigned flags, unsigned type, size_t size)
{
    return say(SERVER, "42284z", U(0x668e33ef), U(flags), U(type), cookie, U(size), U(size));
}

static void negotiate(bool is_structured)
{
    cr_assert(greeting(3) && client_flags(3), "%s", err.text);
    if (is_structured)
        cr_assert(option(8, 0) && answer(8, 1, 0), "%s", err.text);
    cr_assert(option(7, 20) && answer(7, 3, 12) && answer(7, 3, 14) && answer(7, 1, 0), "%s",
              err.text);
    cr_assert_eq(nbd_watch_outstanding(&watch), 0);
}
#define refused(call, part)                                                                        \
    do {                                                                                           \
        cr_assert_not(call);                                                                       \
        cr_assert(strstr(err.text, part), "\"%s\" lacks \"%s\"", err.text, part);                  \
    } while (0)

static void converse(void)
{
    negotiate(true);
    cr_assert(request(WRITE, 1, 512) && request(READ, 2, 700) && request(FLUSH, 3, 0), "%s",
              err.text);
    now += 5;
    cr_assert(request(ZEROES, 4, 65536) && request(TRIM, 5, 4096) && request(WRITE, 6, 100), "%s",
              err.text);
    cr_assert_eq(nbd_watch_outstanding(&watch), 6);
    now += 5;
    cr_assert(simple(1, 0, 0), "%s", err.text);
    cr_assert_eq(watch.written_bytes, 512);
    cr_assert_eq(nbd_watch_oldest_ms(&watch, now), 10);
    cr_assert(chunk(2, 0, 1, 308) && chunk(2, 0, 2, 12), "%s", err.text);
    cr_assert_eq(nbd_watch_outstanding(&watch), 5);
    cr_assert(chunk(2, 1, 0, 0) && simple(3, 0, 0), "%s", err.text);
    cr_assert_eq(nbd_watch_oldest_ms(&watch, now), 5);
    cr_assert(chunk(4, 1, 0, 0) && simple(5, 22, 0) && chunk(6, 0, 0x8001, 8) && chunk(6, 1, 0, 0),
              "%s", err.text);
    cr_assert_eq(nbd_watch_outstanding(&watch), 0);
    cr_assert_eq(nbd_watch_oldest_ms(&watch, now), 0);
    cr_assert_eq(watch.written_bytes, 512 + 65536);
    cr_assert_eq(nbd_watch_longest_ms(&watch, now), 10);
    cr_assert(request(DISCONNECT, 9, 0), "%s", err.text);
    cr_assert_eq(nbd_watch_outstanding(&watch), 0);
}

Test(nbd_watch, understands_a_conversation_however_it_is_cut)
{
    for (size_t size = 1; size < 40; size++) {
        start();
        piece = size;
        converse();
    }
    start();
    converse();
}

Test(nbd_watch, waits_for_the_greeting_from_the_start)
{
    cr_assert_eq(nbd_watch_outstanding(&watch), 1);
    cr_assert_eq(nbd_watch_oldest_ms(&watch, now + 70), 70);
    now += 70;
    cr_assert(greeting(3));
    cr_assert_eq(nbd_watch_outstanding(&watch), 0);
    cr_assert_eq(nbd_watch_oldest_ms(&watch, now + 70), 0, "the client's turn is no wait");
    cr_assert_eq(nbd_watch_longest_ms(&watch, now + 70), 70);
}

Test(nbd_watch, half_a_greeting_is_no_answer)
{
    piece = 4;
    cr_assert(say(SERVER, "88", U(0x4e42444d41474943), U(0x49484156454f5054)));
    cr_assert_eq(nbd_watch_outstanding(&watch), 1);
    cr_assert(say(SERVER, "2", U(3)));
    cr_assert_eq(nbd_watch_outstanding(&watch), 0);
}

Test(nbd_watch, an_option_waits_until_its_last_reply)
{
    cr_assert(greeting(3) && client_flags(3));
    now += 10;
    cr_assert(option(7, 30));
    cr_assert_eq(nbd_watch_outstanding(&watch), 1);
    now += 40;
    cr_assert(answer(7, 3, 12));
    cr_assert_eq(nbd_watch_oldest_ms(&watch, now), 40, "an INFO reply is not the last");
    cr_assert(answer(7, 0x80000006, 9));
    cr_assert_eq(nbd_watch_outstanding(&watch), 0);
    cr_assert_eq(watch.phase, NBD_OPTIONS, "a refused GO does not begin the transmission");
    cr_assert_eq(nbd_watch_longest_ms(&watch, now), 40);
}

Test(nbd_watch, an_error_reply_waits_for_its_text)
{
    cr_assert(greeting(3) && client_flags(3) && option(6, 4));
    cr_assert(say(SERVER, "8444z", U(0x3e889045565a9), U(6), U(0x80000001), U(10), U(9)));
    cr_assert_eq(nbd_watch_outstanding(&watch), 1);
    cr_assert(say(SERVER, "1", U(0)));
    cr_assert_eq(nbd_watch_outstanding(&watch), 0);
}

Test(nbd_watch, list_and_meta_context_replies_are_not_the_last)
{
    cr_assert(greeting(3) && client_flags(3));
    cr_assert(option(3, 0) && answer(3, 2, 9) && answer(3, 2, 5) && answer(3, 1, 0));
    cr_assert(option(10, 40) && answer(10, 4, 19) && answer(10, 1, 0));
    cr_assert_eq(nbd_watch_outstanding(&watch), 0);
    cr_assert_eq(watch.phase, NBD_OPTIONS);
}

Test(nbd_watch, export_name_is_answered_with_or_without_zeroes)
{
    for (unsigned flags = 0; flags < 4; flags++) {
        unsigned server = 1 | (flags & 1) << 1, client = 1 | (flags & 2);
        start();
        cr_assert(greeting(server) && client_flags(client) && option(1, 6));
        bool is_short = (server & 2) && (client & 2);
        cr_assert(say(SERVER, "82z", U(1 << 20), U(1), U(is_short ? 0 : 123)));
        if (!is_short) {
            cr_assert_eq(nbd_watch_outstanding(&watch), 1);
            cr_assert(say(SERVER, "1", U(0)));
        }
        cr_assert_eq(watch.phase, NBD_TRANSMISSION);
        cr_assert(request(FLUSH, 1, 0) && simple(1, 0, 0), "%s", err.text);
    }
}

Test(nbd_watch, structured_replies_that_were_refused_stay_unknown)
{
    cr_assert(greeting(3) && client_flags(3) && option(8, 0) && answer(8, 0x80000001, 0));
    cr_assert(option(7, 6) && answer(7, 1, 0) && request(READ, 1, 10));
    refused(chunk(1, 1, 0, 0), "magic 0x668e33ef");
}

Test(nbd_watch, a_simple_reply_to_a_read_carries_its_length)
{
    negotiate(false);
    cr_assert(request(READ, 1, 1000) && request(READ, 2, 1000));
    cr_assert(simple(1, 5, 0), "an error has no payload");
    cr_assert_eq(nbd_watch_outstanding(&watch), 1);
    cr_assert(simple(2, 0, 999));
    cr_assert_eq(nbd_watch_outstanding(&watch), 1);
    cr_assert(say(SERVER, "1", U(7)));
    cr_assert_eq(nbd_watch_outstanding(&watch), 0);
    cr_assert_eq(watch.written_bytes, 0);
}

Test(nbd_watch, a_huge_write_is_counted_when_it_is_answered)
{
    negotiate(false);
    cr_assert(request(WRITE, 77, UINT32_MAX));
    static char block[1 << 16];
    for (uint64_t left = UINT32_MAX; left > 0;) {
        size_t count = left < sizeof block ? (size_t)left : sizeof block;
        cr_assert(feed(CLIENT, block, count));
        left -= count;
    }
    now += 3;
    cr_assert(request(FLUSH, 78, 0), "the header after the payload is found");
    cr_assert_eq(nbd_watch_outstanding(&watch), 2);
    cr_assert_eq(watch.written_bytes, 0);
    cr_assert(simple(77, 0, 0));
    cr_assert_eq(watch.written_bytes, UINT32_MAX);
}

Test(nbd_watch, the_oldest_is_found_whatever_order_answers_have)
{
    negotiate(false);
    for (uint64_t i = 0; i < 5; i++, now++)
        cr_assert(request(FLUSH, 100 + i, 0));
    const struct {
        uint64_t cookie;
        int64_t oldest;
    } steps[] = {{102, 5}, {100, 4}, {104, 4}, {101, 2}, {103, 0}};
    for (size_t i = 0; i < 5; i++) {
        cr_assert(simple(steps[i].cookie, 0, 0));
        cr_assert_eq(nbd_watch_oldest_ms(&watch, now), steps[i].oldest, "after %zu", i);
    }
}

Test(nbd_watch, holds_its_limit_of_requests_and_no_more)
{
    negotiate(false);
    for (int round = 0; round < 3; round++) {
        for (uint64_t i = 0; i < NBD_WATCH_REQUESTS; i++)
            cr_assert(request(FLUSH, i * 0x10000, 0), "%s", err.text);
        cr_assert_eq(nbd_watch_outstanding(&watch), NBD_WATCH_REQUESTS);
        for (uint64_t i = 0; round < 2 && i < NBD_WATCH_REQUESTS; i++)
            cr_assert(simple(i * 0x10000, 0, 0), "%s", err.text);
    }
    refused(request(FLUSH, 5, 0), "more than 1024 requests");
}

Test(nbd_watch, refuses_what_it_does_not_understand)
{
    refused(say(CLIENT, "1", U(0)), "client: it speaks where it must not");
    start();
    refused(say(SERVER, "88z", U(0x4e42444d41474943), U(0x00420281861253), U(2)), "newstyle");
    start();
    refused(greeting(2), "fixed newstyle");
    start();
    cr_assert(greeting(3) && client_flags(3));
    refused(say(SERVER, "1", U(0)), "server: it speaks where it must not");
    start();
    cr_assert(greeting(3) && client_flags(3));
    refused(say(CLIENT, "844", U(1), U(1), U(0)), "magic 0x1 of an option");
    start();
    cr_assert(greeting(3) && client_flags(3) && option(3, 0));
    refused(option(7, 0), "option 7 before the answer to option 3");
    start();
    cr_assert(greeting(3) && client_flags(3));
    refused(say(CLIENT, "844", U(0x49484156454f5054), U(7), U((1 << 20) + 1)), "1048577 bytes");
    start();
    cr_assert(greeting(3) && client_flags(3) && option(3, 0));
    refused(answer(7, 1, 0), "an answer to option 7");
    start();
    cr_assert(greeting(3) && client_flags(3) && option(3, 0));
    refused(answer(3, 5, 0), "type 0x5");
    start();
    cr_assert(greeting(3) && client_flags(3) && option(3, 0));
    refused(say(SERVER, "8444", U(9), U(3), U(1), U(0)), "magic 0x9");
    for (unsigned number = 5; number <= 11; number += 6) {
        start();
        cr_assert(greeting(3) && client_flags(3) && option(number, 0));
        refused(answer(number, 1, 0), "cannot be followed");
    }
}

Test(nbd_watch, a_refused_starttls_is_harmless)
{
    cr_assert(greeting(3) && client_flags(3) && option(5, 0) && answer(5, 0x80000002, 3));
    cr_assert_eq(nbd_watch_outstanding(&watch), 0);
}

Test(nbd_watch, nothing_follows_an_abort)
{
    cr_assert(greeting(3) && client_flags(3) && option(2, 0) && answer(2, 1, 0));
    cr_assert_eq(nbd_watch_outstanding(&watch), 0);
    refused(option(7, 0), "it speaks where it must not");
}

Test(nbd_watch, refuses_a_broken_transmission)
{
    negotiate(false);
    refused(say(CLIENT, "4z", U(0x25609514), U(24)), "magic 0x25609514 of a request");
    start(), negotiate(false);
    refused(request(8, 1, 0), "command 8");
    start(), negotiate(false);
    cr_assert(request(FLUSH, 1, 0));
    refused(request(FLUSH, 1, 0), "used twice");
    start(), negotiate(false);
    refused(simple(1, 0, 0), "cookie 0x1");
    start(), negotiate(false);
    refused(say(SERVER, "4", U(0xdeadbeef)), "magic 0xdeadbeef");
    start(), negotiate(true);
    cr_assert(request(READ, 1, 10));
    refused(simple(1, 0, 10), "structured replies were agreed");
    start(), negotiate(true);
    cr_assert(request(READ, 1, 10));
    refused(chunk(1, 0, 3, 0), "unknown type 3");
    start(), negotiate(true);
    refused(chunk(1, 0, 1, 0), "which no request has");
    start(), negotiate(true);
    cr_assert(request(DISCONNECT, 0, 0));
    refused(request(FLUSH, 1, 0), "it speaks where it must not");
}

Test(nbd_watch, block_status_chunks_are_followed)
{
    negotiate(true);
    cr_assert(request(BLOCK_STATUS, 3, 4096) && chunk(3, 0, 5, 12) && chunk(3, 1, 5, 12), "%s",
              err.text);
    cr_assert_eq(nbd_watch_outstanding(&watch), 0);
}
