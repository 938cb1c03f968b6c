/* Frames of the memory stream: what is written is read, and nothing else is accepted. */
#include "agent/handoff/frame.h"

#include <criterion/criterion.h>
#include <string.h>

static struct error err;

static bool decode(unsigned type, uint32_t size, struct frame *out)
{
    const unsigned char header[FRAME_HEADER_BYTES] = {
        (unsigned char)type, (unsigned char)(size >> 24), (unsigned char)(size >> 16),
        (unsigned char)(size >> 8), (unsigned char)size};
    return frame_decode(header, out, &err);
}

Test(frame, every_type_passes_at_its_limits_and_not_beyond)
{
    static const struct {
        enum frame_type type;
        uint32_t least, most;
    } limits[] = {
#define FRAME(symbol, word, number, least, most) {FRAME_##symbol, least, most},
        FRAME_LIST(FRAME)
#undef FRAME
    };
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        struct frame frame = {0};
        unsigned char header[FRAME_HEADER_BYTES];
        frame_encode(limits[i].type, limits[i].most, header);
        cr_assert(frame_decode(header, &frame, &err), "%s", err.text);
        cr_expect_eq(frame.type, limits[i].type);
        cr_expect_eq(frame.size, limits[i].most);
        cr_expect_not(decode(limits[i].type, limits[i].most + 1, &frame));
        cr_expect_eq(err.code, ERROR_INVALID);
        if (limits[i].least > 0)
            cr_expect_not(decode(limits[i].type, limits[i].least - 1, &frame));
    }
}

Test(frame, header_is_big_endian)
{
    unsigned char header[FRAME_HEADER_BYTES];
    frame_encode(FRAME_DATA, 0x00030201, header);
    cr_expect_arr_eq(header, ((unsigned char[]){2, 0, 3, 2, 1}), sizeof header);
}

Test(frame, unknown_types_are_refused_by_number)
{
    struct frame frame;
    cr_expect_not(decode(0, 0, &frame));
    cr_expect_not(decode(12, 0, &frame));
    cr_expect_not(decode(255, 1, &frame));
    cr_expect_str_eq(err.text, "there is no frame of type 255");
}

Test(frame, too_long_says_what_was_expected)
{
    struct frame frame;
    cr_expect_not(decode(FRAME_CONFIG, 0xffffffff, &frame));
    cr_expect_str_eq(err.text, "config frame of 4294967295 bytes, expected 2 to 1048576");
}

Test(frame, failure_arrives_with_code_and_text)
{
    struct error sent = {.code = ERROR_NO_SPACE};
    struct error got;
    char payload[FRAME_FAILURE_LIMIT];
    memset(sent.text, 'x', sizeof sent.text - 1);
    size_t size = frame_encode_failure(&sent, payload);
    cr_assert(frame_decode_failure(payload, size, &got, &err), "%s", err.text);
    cr_expect_eq(got.code, ERROR_NO_SPACE);
    cr_expect_str_eq(got.text, sent.text);
}

Test(frame, failure_text_cannot_forge_log_lines)
{
    static const char payload[] = "internal\none\ntwo\033[2J";
    struct error got;
    cr_assert(frame_decode_failure(payload, sizeof payload - 1, &got, &err), "%s", err.text);
    cr_expect_str_eq(got.text, "one?two?[2J");
}

Test(frame, failure_without_a_known_code_is_refused)
{
    struct error got;
    cr_expect_not(frame_decode_failure("nonsense\ntext", 13, &got, &err));
    cr_expect_not(frame_decode_failure("internal", 8, &got, &err));
    cr_expect_not(frame_decode_failure("", 0, &got, &err));
    cr_expect_eq(err.code, ERROR_INVALID);
}
