/* Strict decoding: what is accepted, and the exact text of each refusal. */
#include "base/json_table.h"
#include "base/uuid.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct child {
    char name[8];
    int64_t size;
};
struct parent {
    char *title;
    char id[UUID_SIZE];
    bool is_big;
    int count;
    int colour;
    struct child child;
    struct json_array children;
    struct json_array words;
    struct json_array map;
    char *any;
    bool has_any;
};
static const char *const colours[] = {"red", "green", NULL};
static const struct json_field child_fields[] = {
    JSON_CHARS("name", child, name, 1, true),
    JSON_INT64("size", child, size, 0, 100, false),
    {0},
};
static const struct json_field parent_fields[] = {
    JSON_TEXT("title", parent, title, 1, 5, false),
    JSON_UUID("id", parent, id, false),
    JSON_BOOL("is_big", parent, is_big, false),
    JSON_INT("count", parent, count, -1, 9, true),
    JSON_ENUM("colour", parent, colour, colours, false),
    JSON_OBJECT("child", parent, child, child_fields, false),
    JSON_LIST("children", parent, children, child, 2, child_fields, false),
    JSON_TEXTS("words", parent, words, 3, false),
    JSON_MAP("map", parent, map, 2, false),
    {JSON_ROW("any", parent, any, JSON_FIELD_ANY, false), .max = 10,
     .presence_offset = offsetof(struct parent, has_any)},
    {0},
};

static const char full[] =
    "{\"title\":\"abc\",\"id\":\"01234567-89ab-4cde-8f01-23456789abcd\",\"is_big\":true,"
    "\"count\":-1,\"colour\":\"green\",\"child\":{\"name\":\"x\",\"size\":100},"
    "\"children\":[{\"name\":\"y\",\"size\":0}],\"words\":[\"a\",\"b\"],\"map\":{\"k\":\"v\"},"
    "\"any\":[1]}";

Test(json, full_object_survives_a_round_trip)
{
    struct parent parent = {0};
    struct error err;
    cr_assert(json_decode_text(full, strlen(full), parent_fields, &parent, &err), "%s", err.text);
    cr_assert_str_eq(parent.title, "abc");
    cr_assert_eq(parent.colour, 1);
    cr_assert_eq(parent.children.count, 1);
    cr_assert(parent.has_any);
    char *text = json_encode_text(parent_fields, &parent);
    cr_assert_str_eq(text, full);
    free(text);
    json_release(parent_fields, &parent);
    cr_assert_null(parent.title);
}

struct refusal {
    const char *text, *error;
};
static const struct refusal refusals[] = {
    {"{", "not valid JSON at line 1 column 1: string or '}' expected near end of file"},
    {"{\"count\":1,\"count\":2}",
     "not valid JSON at line 1 column 18: duplicate object key near '\"count\"'"},
    {"[]", "the document: expected an object"},
    {"{}", "/count: is missing"},
    {"{\"count\":1,\"cuont\":1}", "/cuont: unknown key"},
    {"{\"count\":10}", "/count: expected an integer of -1 to 9"},
    {"{\"count\":1.0}", "/count: expected an integer of -1 to 9"},
    {"{\"count\":null}", "/count: expected an integer of -1 to 9"},
    {"{\"count\":1,\"title\":\"\"}", "/title: expected text of 1 to 5 bytes"},
    {"{\"count\":1,\"title\":\"abcdef\"}", "/title: expected text of 1 to 5 bytes"},
    {"{\"count\":1,\"title\":\"a\\u0000b\"}",
     "not valid JSON at line 1 column 29: \\u0000 is not allowed without JSON_ALLOW_NUL near "
     "'\"a\\u0000b\"'"},
    {"{\"count\":1,\"id\":\"01234567-89AB-4cde-8f01-23456789abcd\"}",
     "/id: expected a UUID in lower case"},
    {"{\"count\":1,\"colour\":\"blue\"}", "/colour: expected one of \"red\", \"green\""},
    {"{\"count\":1,\"is_big\":1}", "/is_big: expected true or false"},
    {"{\"count\":1,\"child\":{\"name\":\"12345678\"}}",
     "/child/name: expected text of 1 to 7 bytes"},
    {"{\"count\":1,\"children\":[{\"name\":\"a\"},{\"name\":\"b\",\"size\":101}]}",
     "/children/1/size: expected an integer of 0 to 100"},
    {"{\"count\":1,\"children\":[{},{},{}]}", "/children: expected an array of at most 2 items"},
    {"{\"count\":1,\"words\":[\"a\",2]}", "/words/1: expected text of 0 to 32767 bytes"},
    {"{\"count\":1,\"map\":{\"a/b~\":3}}", "/map/a~1b~0: expected text of 1 to 32767 bytes"},
    {"{\"count\":1,\"any\":\"0123456789\"}", "/any: expected a value of at most 10 bytes"},
};

Test(json, each_wrong_document_names_the_place_and_what_was_expected)
{
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        struct parent parent = {0};
        struct error err = {0};
        const char *text = refusals[i].text;
        cr_expect_not(json_decode_text(text, strlen(text), parent_fields, &parent, &err), "%s",
                      text);
        cr_expect_str_eq(err.text, refusals[i].error);
        cr_expect_eq(err.code, ERROR_INVALID);
        cr_expect_null(parent.children.items);
    }
}

/* what | where | what is expected */
static const char *const all_wrong[][3] = {
    {"/cuont", "is not known here", NULL},
    {"/title", "is text of 6 bytes", "text of 1 to 5 bytes"},
    {"/count", "is missing", "an integer of -1 to 9"},
    {"/child/name", "is missing", "text of 1 to 7 bytes"},
    {"/child/size", "is 101", "an integer of 0 to 100"},
    {"/children/1", "is an array of 0 items", "an object"},
    {"/words/0", "is null", "text of 0 to 32767 bytes"},
    {"/map/a~1b", "is true", "text of 1 to 32767 bytes"},
};

Test(json, all_that_is_wrong_is_told_at_once)
{
    static const char text[] =
        "{\"title\":\"secret\",\"cuont\":1,\"child\":{\"size\":101},\"words\":[null,\"a\"],"
        "\"children\":[{\"name\":\"a\"},[]],\"map\":{\"a/b\":true,\"c\":\"d\"}}";
    struct parent parent = {0};
    struct field_errors errors = {0};
    struct error err;
    cr_assert_not(json_decode_text_all(text, strlen(text), parent_fields, &parent, &errors, &err));
    cr_expect_str_eq(err.text, "/cuont: unknown key");
    cr_assert_eq(errors.count, sizeof all_wrong / sizeof all_wrong[0]);
    for (size_t i = 0; i < errors.count; i++) {
        cr_expect_str_eq(errors.items[i].name, all_wrong[i][0]);
        cr_expect_str_eq(errors.items[i].detail, all_wrong[i][1]);
        if (all_wrong[i][2])
            cr_expect_str_eq(errors.items[i].expected, all_wrong[i][2]);
    }
    cr_expect_null(parent.title);
    cr_expect_null(parent.map.items);
    field_errors_done(&errors);
}

Test(json, what_is_wrong_beyond_the_limit_is_left_out)
{
    struct parent parent = {0};
    struct field_errors errors = {0};
    struct error err;
    char text[2048] = "{\"count\":1";
    for (int i = 0; i < 2 * FIELD_ERRORS_MOST; i++)
        sprintf(text + strlen(text), ",\"more%d\":1", i);
    strcat(text, "}");
    cr_assert_not(json_decode_text_all(text, strlen(text), parent_fields, &parent, &errors, &err));
    cr_expect_eq(errors.count, FIELD_ERRORS_MOST);
    field_errors_done(&errors);
}

Test(json, what_is_no_json_is_wrong_as_a_whole)
{
    struct parent parent = {0};
    struct field_errors errors = {0};
    struct error err;
    cr_assert_not(json_decode_text_all("{", 1, parent_fields, &parent, &errors, &err));
    cr_assert_eq(errors.count, 1);
    cr_expect_str_eq(errors.items[0].name, "");
    cr_expect_str_eq(errors.items[0].detail, err.text);
    field_errors_done(&errors);
}

Test(json, nesting_has_a_limit)
{
    char deep[64] = "{\"count\":1,\"any\":";
    for (int i = 0; i < 17; i++)
        strcat(deep, "[");
    for (int i = 0; i < 17; i++)
        strcat(deep, "]");
    strcat(deep, "}");
    json_t *root;
    struct error err;
    cr_assert_not(json_parse(deep, strlen(deep), &root, &err));
    cr_assert_str_eq(err.text, "JSON nested deeper than 16 levels");
}
