/* A growing byte buffer with a ceiling; see buffer.h. */
#include "base/buffer.h"

#include "base/memory.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void buffer_init(struct buffer *buffer, size_t ceiling)
{
    *buffer = (struct buffer){.ceiling = ceiling};
}

void buffer_done(struct buffer *buffer)
{
    free(buffer->data);
    *buffer = (struct buffer){.ceiling = buffer->ceiling};
}

void buffer_clear(struct buffer *buffer)
{
    buffer->size = 0;
    if (buffer->data)
        buffer->data[0] = '\0';
}

/* Makes room for `size` more bytes and the NUL. */
static bool reserve(struct buffer *buffer, size_t size, struct error *err)
{
    if (size > buffer->ceiling - buffer->size)
        return error_set(err, ERROR_NO_SPACE, "more than the limit of %zu bytes", buffer->ceiling);
    size_t need = buffer->size + size + 1;
    if (need <= buffer->capacity)
        return true;
    size_t capacity = buffer->capacity ? buffer->capacity : 64;
    while (capacity < need)
        capacity *= 2;
    buffer->data = memory_resize(buffer->data, capacity, 1);
    buffer->capacity = capacity;
    return true;
}

bool buffer_append(struct buffer *buffer, const void *data, size_t size, struct error *err)
{
    if (!reserve(buffer, size, err))
        return false;
    if (size)
        memcpy(buffer->data + buffer->size, data, size);
    buffer->size += size;
    buffer->data[buffer->size] = '\0';
    return true;
}

bool buffer_printf(struct buffer *buffer, struct error *err, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    char *text = NULL;
    int size = vasprintf(&text, fmt, args);
    va_end(args);
    if (size < 0)
        abort();
    bool is_done = buffer_append(buffer, text, (size_t)size, err);
    free(text);
    return is_done;
}

void buffer_consume(struct buffer *buffer, size_t size)
{
    assert(size <= buffer->size);
    if (!size)
        return;
    buffer->size -= size;
    memmove(buffer->data, buffer->data + size, buffer->size + 1);
}

char *buffer_take(struct buffer *buffer)
{
    char *data = buffer->data ? buffer->data : memory_copy_text("");
    *buffer = (struct buffer){.ceiling = buffer->ceiling};
    return data;
}
