/* Allocation that cannot fail: every outside size is capped by its reader, so running out of
 * memory is not an input error; the process aborts and its restart is the tested path. */
#pragma once

#include <stddef.h>

void *memory_alloc(size_t size) __attribute__((malloc, returns_nonnull)); /* zeroed */
void *memory_array(size_t count, size_t size) __attribute__((malloc, returns_nonnull));
void *memory_resize(void *p, size_t count, size_t size) __attribute__((returns_nonnull));
char *memory_copy_text(const char *text) __attribute__((malloc, returns_nonnull));
char *memory_format(const char *fmt, ...)
    __attribute__((malloc, returns_nonnull, format(printf, 1, 2)));
