/* Framing of the memory stream; see frame.h. */
#include "agent/handoff/frame.h"

#include "base/cleanup.h"
#include "base/memory.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct frame_kind {
    enum frame_type type;
    const char *word;
    uint32_t least, most;
};

static const struct frame_kind kinds[] = {
#define FRAME(symbol, word, number, least, most) {FRAME_##symbol, word, least, most},
    FRAME_LIST(FRAME)
#undef FRAME
};

static const struct frame_kind *find_kind(unsigned number)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if ((unsigned)kinds[i].type == number)
            return &kinds[i];
    return NULL;
}

const char *frame_type_name(enum frame_type type)
{
    const struct frame_kind *kind = find_kind((unsigned)type);
    return kind ? kind->word : "unknown";
}

void frame_encode(enum frame_type type, size_t size, unsigned char header[FRAME_HEADER_BYTES])
{
    const struct frame_kind *kind = find_kind((unsigned)type);
    assert(kind && size >= kind->least && size <= kind->most);
    (void)kind;
    header[0] = (unsigned char)type;
    for (int i = 0; i < 4; i++)
        header[1 + i] = (unsigned char)(size >> (24 - 8 * i) & 0xff);
}

bool frame_decode(const unsigned char header[FRAME_HEADER_BYTES], struct frame *out,
                  struct error *err)
{
    uint32_t size = 0;
    for (int i = 0; i < 4; i++)
        size = size << 8 | header[1 + i];
    const struct frame_kind *kind = find_kind(header[0]);
    if (!kind)
        return error_set(err, ERROR_INVALID, "there is no frame of type %u", header[0]);
    if (size < kind->least || size > kind->most)
        return error_set(err, ERROR_INVALID, "%s frame of %u bytes, expected %u to %u", kind->word,
                         size, kind->least, kind->most);
    *out = (struct frame){.type = kind->type, .size = size};
    return true;
}

bool frame_write(struct link_stream *stream, enum frame_type type, const void *payload, size_t size,
                 int timeout_ms, struct error *err)
{
    unsigned char small[FRAME_HEADER_BYTES + FRAME_FAILURE_LIMIT];
    auto_free unsigned char *large =
        size > FRAME_FAILURE_LIMIT ? memory_alloc(FRAME_HEADER_BYTES + size) : NULL;
    unsigned char *frame = large ? large : small;
    frame_encode(type, size, frame);
    if (size > 0)
        memcpy(frame + FRAME_HEADER_BYTES, payload, size);
    return link_write_all(stream, frame, FRAME_HEADER_BYTES + size, timeout_ms, err);
}

bool frame_read(struct link_stream *stream, int timeout_ms, struct frame *out, struct error *err)
{
    unsigned char header[FRAME_HEADER_BYTES];
    return link_read_all(stream, header, sizeof header, timeout_ms, err) &&
           frame_decode(header, out, err);
}

bool frame_read_whole(struct link_stream *stream, enum frame_type type, void *payload, size_t room,
                      int timeout_ms, size_t *size, struct error *err)
{
    struct frame frame;
    if (!frame_read(stream, timeout_ms, &frame, err))
        return false;
    if (frame.type != type || frame.size > room)
        return error_set(err, ERROR_INVALID, "%s frame of %u bytes, expected %s",
                         frame_type_name(frame.type), frame.size, frame_type_name(type));
    if (!link_read_all(stream, payload, frame.size, timeout_ms, err))
        return false;
    *size = frame.size;
    return true;
}

size_t frame_encode_failure(const struct error *failure, char out[FRAME_FAILURE_LIMIT])
{
    int size =
        snprintf(out, FRAME_FAILURE_LIMIT, "%s\n%s", error_code_name(failure->code), failure->text);
    return size < FRAME_FAILURE_LIMIT ? (size_t)size : FRAME_FAILURE_LIMIT - 1;
}

bool frame_decode_failure(const char *payload, size_t size, struct error *failure,
                          struct error *err)
{
    char text[FRAME_FAILURE_LIMIT + 1] = {0};
    enum error_code code;
    if (size > FRAME_FAILURE_LIMIT)
        return error_set(err, ERROR_INVALID, "failure of %zu bytes", size);
    memcpy(text, payload, size);
    char *end = strchr(text, '\n');
    if (end)
        *end = '\0';
    if (!end || !error_code_parse(text, &code))
        return error_set(err, ERROR_INVALID, "failure without a known code");
    for (char *c = end + 1; *c; c++) /* it goes to logs and to the operator */
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = '?';
    error_set(failure, code, "%s", end + 1);
    return true;
}
