/* Cut texts stay valid UTF-8. */
#include "base/error.h"
#include "base/utf8.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <string.h>

static void repairs(const char *text, const char *expected)
{
    char copy[64];
    snprintf(copy, sizeof copy, "%s", text);
    utf8_repair(copy);
    cr_assert_str_eq(copy, expected);
    json_t *value = json_string(copy);
    cr_assert_not_null(value);
    json_decref(value);
}

Test(utf8, valid_text_stays)
{
    repairs("", "");
    repairs("plain", "plain");
    repairs("gr\xc3\xbc\xc3\x9f"
            "e \xe2\x82\xac \xf0\x9f\x98\x80",
            "gr\xc3\xbc\xc3\x9f"
            "e \xe2\x82\xac \xf0\x9f\x98\x80");
    repairs("\xf4\x8f\xbf\xbf", "\xf4\x8f\xbf\xbf");
}

Test(utf8, cut_and_wrong_sequences_become_question_marks)
{
    repairs("a\xc3", "a?");
    repairs("a\xe2\x82", "a??");
    repairs("\xf0\x9f\x98", "???");
    repairs("\xf0\x9f\x98!", "??"
                             "?!");
    repairs("\x80"
            "b",
            "?b");
    repairs("\xc0\xaf", "??");           /* overlong */
    repairs("\xed\xa0\x80", "???");      /* a surrogate */
    repairs("\xf4\x90\x80\x80", "????"); /* beyond U+10FFFF */
    repairs("\xff\xfe", "??");
}

Test(utf8, an_error_that_was_cut_is_still_valid)
{
    char umlauts[600];
    for (size_t i = 0; i + 1 < sizeof umlauts; i += 2)
        memcpy(umlauts + i, "\xc3\xbc", 2);
    umlauts[sizeof umlauts - 1] = '\0';
    umlauts[sizeof umlauts - 2] = '\0';
    struct error err;
    error_set(&err, ERROR_INVALID, "%s", umlauts);
    json_t *value = json_string(err.text);
    cr_assert_not_null(value);
    json_decref(value);
    error_prefix(&err, "x%.5s", umlauts);
    value = json_string(err.text);
    cr_assert_not_null(value);
    json_decref(value);
}
