/* UUIDs as lower-case text, 36 characters. */
#pragma once

#include <stdbool.h>

#define UUID_SIZE 37 /* with NUL */

void uuid_make(char out[UUID_SIZE]); /* version 4, from getrandom(2) */
bool uuid_is_valid(const char *text);
