/* Allocation that aborts instead of failing; see memory.h. */
#include "base/memory.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *check(void *p)
{
    if (!p) {
        fputs("{\"level\":\"error\",\"text\":\"out of memory\"}\n", stderr);
        abort();
    }
    return p;
}

void *memory_alloc(size_t size)
{
    return check(calloc(1, size ? size : 1));
}

void *memory_array(size_t count, size_t size)
{
    return check(calloc(count ? count : 1, size ? size : 1));
}

void *memory_resize(void *p, size_t count, size_t size)
{
    return check(reallocarray(p, count ? count : 1, size ? size : 1));
}

char *memory_copy_text(const char *text)
{
    return check(strdup(text));
}

char *memory_format(const char *fmt, ...)
{
    char *text = NULL;
    va_list args;
    va_start(args, fmt);
    int size = vasprintf(&text, fmt, args);
    va_end(args);
    return check(size < 0 ? NULL : text);
}
