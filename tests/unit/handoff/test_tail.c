/* The tail holds exactly the last 8 bytes, whatever the pieces in which they come. */
#include "agent/handoff/tail.h"

#include <criterion/criterion.h>
#include <string.h>

enum { TOTAL = 1000 };

static unsigned char byte(size_t i)
{
    return (unsigned char)(i * 7 + 3);
}

/* Passes TOTAL bytes in pieces of `piece`; what came through plus the tail must be all of them. */
static void pass_in_pieces(size_t total, size_t piece)
{
    unsigned char passed[TOTAL] = {0};
    unsigned char room[TAIL_BYTES + TOTAL];
    struct tail tail = {0};
    size_t at = 0;
    for (size_t i = 0; i < total; i += piece) {
        size_t size = total - i < piece ? total - i : piece;
        size_t count = 0;
        for (size_t j = 0; j < size; j++)
            room[TAIL_BYTES + j] = byte(i + j);
        const unsigned char *start = tail_pass(&tail, room + TAIL_BYTES, size, &count);
        memcpy(passed + at, start, count);
        at += count;
    }
    cr_assert_eq(tail.size, total < TAIL_BYTES ? total : TAIL_BYTES);
    cr_assert_eq(at + tail.size, total);
    memcpy(passed + at, tail.bytes, tail.size);
    for (size_t i = 0; i < total; i++)
        cr_assert_eq(passed[i], byte(i), "byte %zu of %zu in pieces of %zu", i, total, piece);
}

Test(tail, holds_the_last_eight_bytes_of_any_pieces)
{
    for (size_t piece = 1; piece <= 20; piece++)
        pass_in_pieces(TOTAL, piece);
    pass_in_pieces(TOTAL, TOTAL);
}

Test(tail, holds_all_of_a_stream_shorter_than_itself)
{
    for (size_t total = 1; total <= TAIL_BYTES + 1; total++)
        for (size_t piece = 1; piece <= total; piece++)
            pass_in_pieces(total, piece);
}
