/* ETags and the lists of them. */
#include "coordinator/http/server.h"

#include <criterion/criterion.h>
#include <string.h>

Test(condition, a_tag_is_of_the_body)
{
    char one[HTTP_ETAG_SIZE], same[HTTP_ETAG_SIZE], other[HTTP_ETAG_SIZE];
    http_etag("{}", one);
    http_etag("{}", same);
    http_etag("{ }", other);
    cr_assert_eq(strlen(one), 34);
    cr_assert(one[0] == '"' && one[33] == '"');
    cr_assert_str_eq(one, same);
    cr_assert_str_neq(one, other);
}

Test(condition, finds_a_tag_in_a_list)
{
    static const struct {
        const char *list;
        bool weak, strong;
    } cases[] = {
        {"\"a\"", true, true},
        {"W/\"a\"", true, false},
        {"\"b\", \"a\"", true, true},
        {"\"b\",W/\"c\"\t, \"a\"", true, true},
        {"*", true, true},
        {"\"b\"", false, false},
        {"\"aa\"", false, false},
        {"\"\"", false, false},
        {"a", false, false},
        {"", false, false},
        {"\"a", false, false},
        {"w/\"a\"", false, false},
        {",,", false, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cr_assert_eq(http_etag_is_in(cases[i].list, "\"a\"", true), cases[i].weak, "%s",
                     cases[i].list);
        cr_assert_eq(http_etag_is_in(cases[i].list, "\"a\"", false), cases[i].strong, "%s",
                     cases[i].list);
    }
}
