/* A growing byte buffer with a ceiling from birth (curl's dynbuf). */
#pragma once

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

struct buffer {
    char *data;      /* always NUL-terminated after the first append */
    size_t size;     /* bytes in use, without the NUL */
    size_t capacity; /* allocated */
    size_t ceiling;  /* append beyond it fails with ERROR_NO_SPACE */
};

void buffer_init(struct buffer *buffer, size_t ceiling);
void buffer_done(struct buffer *buffer);
void buffer_clear(struct buffer *buffer);
bool buffer_append(struct buffer *buffer, const void *data, size_t size,
                   struct error *err) must_check;
bool buffer_printf(struct buffer *buffer, struct error *err, const char *fmt, ...)
    __attribute__((format(printf, 3, 4))) must_check;
/* Removes the first `size` bytes (size <= buffer->size). */
void buffer_consume(struct buffer *buffer, size_t size);
/* Hands the text over (never NULL); the buffer is empty afterwards. Caller frees. */
char *buffer_take(struct buffer *buffer);
