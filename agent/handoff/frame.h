/* Framing of the memory stream and of the question for a verdict: [type u8][length u32, big endian]
 * and so many bytes. Every type has its limits; anything else ends the stream. docs/handoff.md says
 * who sends what when. */
#pragma once

#include "agent/link/link.h"
#include "base/buffer.h"

enum {
    FRAME_HEADER_BYTES = 5,
    FRAME_DATA_LIMIT = 256 << 10,
    FRAME_CONFIG_LIMIT = 1 << 20,
    FRAME_FAILURE_LIMIT = 320,
};

/*   FRAME(symbol, word, number on the wire, least bytes, most bytes) */
#define FRAME_LIST(FRAME)                                                                          \
    FRAME(CONFIG, "config", 1, 2, FRAME_CONFIG_LIMIT)                                              \
    FRAME(DATA, "data", 2, 1, FRAME_DATA_LIMIT)                                                    \
    FRAME(FLUSH, "flush", 3, 0, 0)                                                                 \
    FRAME(FLUSHED, "flushed", 4, 0, 0)                                                             \
    FRAME(END, "end", 5, 0, 0)                                                                     \
    FRAME(PREPARED, "prepared", 6, 0, 0)                                                           \
    FRAME(GO, "go", 7, 0, 0)                                                                       \
    FRAME(RUNNING, "running", 8, 0, 0)                                                             \
    FRAME(FAILED, "failed", 9, 2, FRAME_FAILURE_LIMIT)                                             \
    FRAME(ALIVE, "alive", 10, 0, 0)                                                                \
    FRAME(VERDICT, "verdict", 11, 1, 1)

enum frame_type {
#define FRAME(symbol, word, number, least, most) FRAME_##symbol = number,
    FRAME_LIST(FRAME)
#undef FRAME
};
const char *frame_type_name(enum frame_type type);

struct frame {
    enum frame_type type;
    uint32_t size; /* bytes that follow the header */
};
void frame_encode(enum frame_type type, size_t size, unsigned char header[FRAME_HEADER_BYTES]);
/* ERROR_INVALID: no such type, or a size outside its limits. */
bool frame_decode(const unsigned char header[FRAME_HEADER_BYTES], struct frame *out,
                  struct error *err) must_check;

/* Header and payload in one write. `size` must be within the type's limits. */
bool frame_write(struct link_stream *stream, enum frame_type type, const void *payload, size_t size,
                 int timeout_ms, struct error *err) must_check;
/* The next header; the caller reads `size` bytes after it. The peer's orderly end is
 * ERROR_UNREACHABLE. */
bool frame_read(struct link_stream *stream, int timeout_ms, struct frame *out,
                struct error *err) must_check;
/* The next frame, which must be of this type and no longer than `room`. */
bool frame_read_whole(struct link_stream *stream, enum frame_type type, void *payload, size_t room,
                      int timeout_ms, size_t *size, struct error *err) must_check;

/* The payload of FAILED: the word of the error's code, a line feed, its text. */
size_t frame_encode_failure(const struct error *failure, char out[FRAME_FAILURE_LIMIT]);
/* Into the error that the peer had; ERROR_INVALID in `err` when it is none. */
bool frame_decode_failure(const char *payload, size_t size, struct error *failure,
                          struct error *err) must_check;
