/* Encodes server-sent events; see sse.h. */
#include "coordinator/event/sse.h"

#include <inttypes.h>
#include <string.h>

static bool append_data(struct buffer *out, const char *data, struct error *err)
{
    for (;;) {
        size_t length = strcspn(data, "\r\n");
        if (!buffer_printf(out, err, "data: %.*s\n", (int)length, data))
            return false;
        data += length;
        if (!*data)
            return buffer_append(out, "\n", 1, err);
        data += data[0] == '\r' && data[1] == '\n' ? 2 : 1;
    }
}

static void cut(struct buffer *out, size_t size)
{
    out->size = size;
    if (out->data)
        out->data[size] = '\0';
}

bool sse_event(struct buffer *out, int64_t id, const char *kind, const char *data,
               struct error *err)
{
    size_t before = out->size;
    if (kind[strcspn(kind, "\r\n")])
        return error_set(err, ERROR_INVALID, "an event's kind cannot have a line end");
    if (buffer_printf(out, err, "id: %" PRId64 "\nevent: %s\n", id, kind) &&
        append_data(out, data, err))
        return true;
    cut(out, before);
    return false;
}

bool sse_position(struct buffer *out, int64_t id, const char *comment, struct error *err)
{
    return buffer_printf(out, err, ": %s\nid: %" PRId64 "\n\n", comment, id);
}
