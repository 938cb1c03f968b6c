/* The opening lines: round trips, and what is refused with which words. */
#include "agent/link/hello.h"

#include <criterion/criterion.h>
#include <string.h>

#define MIGRATION "0f8fad5b-d9cb-469f-a165-70867728950e"

TestSuite(hello, .timeout = 30);

static struct link_hello out;
static struct error err;

static bool decode(const char *line)
{
    return hello_decode(line, strlen(line), &out, &err);
}

Test(hello, every_channel_comes_back_as_it_was_sent)
{
    for (enum link_channel channel = LINK_MIRROR; channel <= LINK_CONTROL; channel++) {
        bool has_disk = channel == LINK_MIRROR || channel == LINK_COPY;
        struct link_hello in = {MIGRATION, channel, INT64_MAX, has_disk ? LIMIT_DISKS - 1 : 0};
        char line[HELLO_LIMIT + 1];
        hello_encode(&in, line);
        size_t size = strlen(line);
        cr_assert(size <= HELLO_LIMIT && line[size - 1] == '\n');
        cr_assert(hello_decode(line, size - 1, &out, &err), "%s", err.text);
        cr_assert_str_eq(out.migration, MIGRATION);
        cr_assert_eq(out.channel, channel);
        cr_assert_eq(out.epoch, INT64_MAX);
        cr_assert_eq(out.disk, in.disk);
    }
}

Test(hello, a_bad_hello_is_refused_with_the_place)
{
    static const struct {
        const char *line, *part;
    } cases[] = {
        {"", "hello"},
        {"nonsense", "hello"},
        {"[]", "hello"},
        {"{\"migration\":\"x\",\"channel\":\"copy\",\"epoch\":1,\"disk\":0}", "/migration"},
        {"{\"migration\":\"" MIGRATION "\",\"channel\":\"tape\",\"epoch\":1,\"disk\":0}",
         "/channel"},
        {"{\"migration\":\"" MIGRATION "\",\"channel\":\"copy\",\"epoch\":-1,\"disk\":0}",
         "/epoch"},
        {"{\"migration\":\"" MIGRATION "\",\"channel\":\"copy\",\"epoch\":1,\"disk\":64}", "/disk"},
        {"{\"migration\":\"" MIGRATION "\",\"channel\":\"copy\",\"epoch\":1}", "/disk"},
        {"{\"migration\":\"" MIGRATION "\",\"channel\":\"memory\",\"epoch\":1,\"disk\":0}",
         "/disk"},
        {"{\"migration\":\"" MIGRATION "\",\"channel\":\"memory\"}", "/epoch"},
        {"{\"migration\":\"" MIGRATION "\",\"channel\":\"memory\",\"epoch\":1,\"more\":1}", "more"},
        {"{\"migration\":\"" MIGRATION "\",\"channel\":\"memory\",\"epoch\":1,\"epoch\":2}",
         "epoch"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cr_assert_not(decode(cases[i].line), "%s", cases[i].line);
        cr_assert_eq(err.code, ERROR_INVALID);
        cr_assert(strstr(err.text, cases[i].part), "%s: %s", cases[i].line, err.text);
    }
}

static bool decode_answer(const char *line)
{
    return hello_decode_answer(line, strlen(line), &err);
}

Test(hello, an_accepting_answer_is_accepting)
{
    char line[ANSWER_LIMIT + 1];
    hello_encode_answer(NULL, line);
    cr_assert(decode_answer(line), "%s", err.text);
}

Test(hello, a_refusal_carries_code_and_text)
{
    struct error why = {.code = ERROR_CONFLICT, .text = "epoch 3 was seen, this is \"2\""};
    char line[ANSWER_LIMIT + 1];
    hello_encode_answer(&why, line);
    cr_assert_not(decode_answer(line));
    cr_assert_eq(err.code, ERROR_CONFLICT);
    cr_assert_str_eq(err.text, why.text);
}

Test(hello, any_bytes_of_a_refusal_fit_the_line)
{
    static const char bytes[] = {'"', '\\', '\1', '\n', '\x7f', (char)0xc3, (char)0xff};
    for (size_t b = 0; b < sizeof bytes; b++) {
        struct error why = {.code = ERROR_INTERNAL};
        memset(why.text, bytes[b], sizeof why.text - 1);
        char line[ANSWER_LIMIT + 1];
        hello_encode_answer(&why, line);
        cr_assert_not(decode_answer(line));
        cr_assert_eq(err.code, ERROR_INTERNAL);
        char shown = bytes[b] == '"' || bytes[b] == '\\' ? bytes[b] : '?';
        cr_assert_eq(strlen(err.text), sizeof why.text - 1);
        cr_assert_eq(err.text[0], shown);
    }
}

Test(hello, a_bad_answer_is_an_error_of_its_own)
{
    cr_assert_not(decode_answer("{}"));
    cr_assert(strstr(err.text, "answer to the hello"), "%s", err.text);
    cr_assert_not(decode_answer("{\"accepted\":false,\"code\":\"sunk\",\"text\":\"\"}"));
    cr_assert(strstr(err.text, "/code"), "%s", err.text);
    cr_assert_not(decode_answer("{\"accepted\":1,\"code\":\"\",\"text\":\"\"}"));
    cr_assert(strstr(err.text, "/accepted"), "%s", err.text);
}
