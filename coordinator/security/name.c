/* The rule for names; see name.h. */
#include "coordinator/security/name.h"

#include "base/uuid.h"

#include <string.h>

#define LETTERS_AND_DIGITS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

bool name_check(const char *what, const char *name, struct error *err)
{
    size_t length = strlen(name);
    if (length < 1 || length > 128 || strspn(name, LETTERS_AND_DIGITS "._-") != length ||
        strspn(name, LETTERS_AND_DIGITS) == 0)
        return error_set(err, ERROR_INVALID,
                         "the %s's name: expected 1 to 128 letters, digits, '.', '_' or '-', "
                         "beginning with a letter or digit",
                         what);
    if (uuid_is_valid(name))
        return error_set(err, ERROR_INVALID, "the %s's name: a UUID cannot be a name", what);
    return true;
}
