/* Any bytes in both directions. The input is a list of pieces: one byte says which side speaks and
 * whether time passes, the next how many bytes follow. The same conversation byte by byte must come
 * to the same end. A valid opening is put in front for odd first bytes, so that the transmission is
 * reached. */
#include "agent/link/nbd_watch.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t greeting[] = "NBDMAGICIHAVEOPT\0\3";
static const uint8_t structured[] = "IHAVEOPT\0\0\0\x8\0\0\0\0";
static const uint8_t structured_ack[] = "\0\3\xe8\x89\4\x55\x65\xa9\0\0\0\x8\0\0\0\1\0\0\0\0";
static const uint8_t go[] = "IHAVEOPT\0\0\0\7\0\0\0\0";
static const uint8_t go_ack[] = "\0\3\xe8\x89\4\x55\x65\xa9\0\0\0\7\0\0\0\1\0\0\0\0";

static bool feed(struct nbd_watch *watch, bool is_server, const uint8_t *data, size_t size,
                 int64_t now_ms, size_t piece)
{
    struct error err;
    for (size_t done = 0; done < size;) {
        size_t count = size - done < piece ? size - done : piece;
        if (!(is_server ? nbd_watch_server(watch, data + done, count, now_ms, &err)
                        : nbd_watch_client(watch, data + done, count, now_ms, &err)))
            return false;
        done += count;
    }
    return true;
}

static bool open_transmission(struct nbd_watch *watch, bool is_structured, size_t piece)
{
    return feed(watch, true, greeting, 18, 0, piece) &&
           feed(watch, false, (const uint8_t *)"\0\0\0\3", 4, 0, piece) &&
           (!is_structured || (feed(watch, false, structured, 16, 0, piece) &&
                               feed(watch, true, structured_ack, 20, 0, piece))) &&
           feed(watch, false, go, 16, 0, piece) && feed(watch, true, go_ack, 20, 0, piece);
}

static bool converse(struct nbd_watch *watch, const uint8_t *data, size_t size, size_t piece)
{
    int64_t now_ms = 0;
    nbd_watch_init(watch, 0);
    if (size > 0 && data[0] & 1 && !open_transmission(watch, data[0] & 2, piece))
        abort();
    for (size_t i = 1; i + 2 <= size;) {
        bool is_server = data[i] & 1;
        size_t count = data[i + 1];
        now_ms += data[i] >> 1;
        i += 2;
        count = count < size - i ? count : size - i;
        if (!feed(watch, is_server, data + i, count, now_ms, piece))
            return false;
        i += count;
        if (nbd_watch_oldest_ms(watch, now_ms) < 0 ||
            nbd_watch_longest_ms(watch, now_ms) < nbd_watch_oldest_ms(watch, now_ms) ||
            nbd_watch_outstanding(watch) < 0 ||
            nbd_watch_outstanding(watch) > NBD_WATCH_REQUESTS + 1)
            abort();
    }
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct nbd_watch whole, bytewise;
    bool is_fine = converse(&whole, data, size, SIZE_MAX);
    if (converse(&bytewise, data, size, 1) != is_fine)
        abort();
    if (is_fine && (whole.written_bytes != bytewise.written_bytes ||
                    whole.outstanding != bytewise.outstanding || whole.phase != bytewise.phase))
        abort();
    return 0;
}
