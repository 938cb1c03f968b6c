/* Checks and repairs UTF-8; see utf8.h. */
#include "base/utf8.h"

#include <stddef.h>
#include <stdint.h>

/* Bytes of the sequence that begins here; 0 when it is none (RFC 3629, section 4). */
static size_t sequence_length(const unsigned char *at)
{
    static const struct {
        unsigned char first, last; /* of the first byte */
        unsigned char low, high;   /* of the second; the others are 0x80..0xBF */
        unsigned char length;
    } rows[] = {
        {0x01, 0x7F, 0, 0, 1},       {0xC2, 0xDF, 0x80, 0xBF, 2}, {0xE0, 0xE0, 0xA0, 0xBF, 3},
        {0xE1, 0xEC, 0x80, 0xBF, 3}, {0xED, 0xED, 0x80, 0x9F, 3}, {0xEE, 0xEF, 0x80, 0xBF, 3},
        {0xF0, 0xF0, 0x90, 0xBF, 4}, {0xF1, 0xF3, 0x80, 0xBF, 4}, {0xF4, 0xF4, 0x80, 0x8F, 4},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (at[0] < rows[i].first || at[0] > rows[i].last)
            continue;
        if (rows[i].length > 1 && (at[1] < rows[i].low || at[1] > rows[i].high))
            return 0;
        for (size_t k = 2; k < rows[i].length; k++) {
            if (at[k] < 0x80 || at[k] > 0xBF) /* also the end of the text */
                return 0;
        }
        return rows[i].length;
    }
    return 0;
}

void utf8_repair(char *text)
{
    for (unsigned char *at = (unsigned char *)text; *at;) {
        size_t length = sequence_length(at);
        if (length == 0)
            *at = '?';
        at += length ? length : 1;
    }
}

bool utf8_is_valid(const char *text)
{
    for (const unsigned char *at = (const unsigned char *)text; *at;) {
        size_t length = sequence_length(at);
        if (length == 0)
            return false;
        at += length;
    }
    return true;
}
