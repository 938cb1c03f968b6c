/* Words of a closed list as columns hold them. */
#pragma once

#include <string.h>

/* The index of `word` in the NULL-terminated list. The column's check allows only its words, so an
 * unknown one cannot be; NULL is the first. */
static inline int word_index(const char *const *words, const char *word)
{
    for (int i = 0; words[i]; i++) {
        if (word && strcmp(words[i], word) == 0)
            return i;
    }
    return 0;
}
