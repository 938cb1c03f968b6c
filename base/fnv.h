/* FNV-1a, 32 bits (Fowler, Noll, Vo): spreads texts over the slots of a table. Not for secrets. */
#pragma once

#include <stddef.h>
#include <stdint.h>

static inline uint32_t fnv_hash(const char *text, size_t length)
{
    uint32_t hash = 2166136261U;
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ (unsigned char)text[i]) * 16777619U;
    return hash;
}
