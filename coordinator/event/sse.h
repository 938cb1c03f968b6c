/* Server-sent events (WHATWG HTML, section 9.2) as text. */
#pragma once

#include "base/buffer.h"

/* "id: 7\nevent: vm.state\ndata: ...\n\n". Line ends in `data` (\n, \r\n, \r) begin a new data
 * line, which is what a reader joins with \n. ERROR_INVALID when `kind` has a line end;
 * ERROR_NO_SPACE when it does not fit. Nothing is appended then. */
bool sse_event(struct buffer *out, int64_t id, const char *kind, const char *data,
               struct error *err) must_check;
/* What only tells the reader where it is: an id without data dispatches no event, and the comment
 * keeps proxies from closing an idle connection. */
bool sse_position(struct buffer *out, int64_t id, const char *comment,
                  struct error *err) must_check;
