/* UTF-8 of texts that come from outside or were cut to fit. */
#pragma once

#include <stdbool.h>

/* Each byte that is no part of valid UTF-8 (RFC 3629) becomes '?', so that the text can go into
 * JSON and into the database. */
void utf8_repair(char *text);
bool utf8_is_valid(const char *text);
