/* Sealed text opens with its key only, and only unchanged. */
#include "base/seal.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static unsigned char key[SEAL_KEY_SIZE], other[SEAL_KEY_SIZE];
static struct error err;

static void make_keys(void)
{
    seal_key("secret", "one purpose", key);
    seal_key("secret", "another", other);
}

TestSuite(seal, .init = make_keys);

Test(seal, opens_what_was_closed)
{
    static const char *const texts[] = {"", "a", "{\"token\":\"cpe_0\"}", "\xc3\xa4"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        char *sealed = seal_close(key, texts[i]), *opened = NULL;
        cr_assert(seal_open(key, sealed, &opened, &err), "%s", err.text);
        cr_assert_str_eq(opened, texts[i]);
        cr_assert(!strstr(sealed, "token"));
        free(sealed);
        free(opened);
    }
}

Test(seal, the_same_text_is_sealed_differently_each_time)
{
    char *one = seal_close(key, "text"), *two = seal_close(key, "text");
    cr_assert_str_neq(one, two);
    free(one);
    free(two);
}

Test(seal, another_key_opens_nothing)
{
    char *sealed = seal_close(key, "text"), *opened = NULL;
    cr_assert(!seal_open(other, sealed, &opened, &err));
    cr_assert_eq(err.code, ERROR_INVALID);
    cr_assert_null(opened);
    free(sealed);
}

Test(seal, whatever_was_changed_does_not_open)
{
    char *sealed = seal_close(key, "text"), *opened = NULL;
    for (size_t i = 0; i < strlen(sealed); i++) {
        char kept = sealed[i];
        sealed[i] = kept == '0' ? '1' : '0';
        cr_assert(!seal_open(key, sealed, &opened, &err), "digit %zu", i);
        sealed[i] = kept;
    }
    sealed[strlen(sealed) - 2] = '\0';
    cr_assert(!seal_open(key, sealed, &opened, &err));
    cr_assert(!seal_open(key, "", &opened, &err));
    cr_assert(!seal_open(key, "xx", &opened, &err));
    free(sealed);
}

Test(seal, a_key_is_of_its_secret_and_purpose)
{
    /* HMAC-SHA-256, RFC 4231, test case 2 */
    static const unsigned char expected[4] = {0x5b, 0xdc, 0xc1, 0x46};
    unsigned char made[SEAL_KEY_SIZE];
    seal_key("Jefe", "what do ya want for nothing?", made);
    cr_assert_arr_eq(made, expected, sizeof expected);
}
