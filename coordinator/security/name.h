/* Names that people give to pools, hosts and tokens. */
#pragma once

#define NAME_EXPECTED                                                                              \
    "1 to 128 letters, digits, '.', '_' or '-', beginning with a letter or digit; no UUID"

#include "base/error.h"

/* Letters, digits, '.', '_' and '-', starting with a letter or digit, at most 128 bytes, and not of
 * the form of a UUID, so that "id or name" is never ambiguous. `what` is for the error's text. */
bool name_check(const char *what, const char *name, struct error *err) must_check;
