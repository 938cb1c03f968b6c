/* The opening lines of a stream as text: the connecting side's hello and the accepting side's
 * answer, each one JSON object and a newline. Pure. */
#pragma once

#include "agent/link/link.h"

enum {
    HELLO_LIMIT = 1024,  /* bytes of the hello line with its newline */
    ANSWER_LIMIT = 2048, /* bytes of the answer line with its newline */
};

/* Writes the line, NUL-terminated. */
void hello_encode(const struct link_hello *hello, char line[HELLO_LIMIT + 1]);
/* `size` bytes without the newline. */
bool hello_decode(const char *line, size_t size, struct link_hello *hello,
                  struct error *err) must_check;

/* `why` NULL: accepted. */
void hello_encode_answer(const struct error *why, char line[ANSWER_LIMIT + 1]);
/* False with the peer's own code and text when it refused. */
bool hello_decode_answer(const char *line, size_t size, struct error *err) must_check;
