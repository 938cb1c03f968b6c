/* The traceparent header of W3C Trace Context (https://www.w3.org/TR/trace-context/): which trace a
 * request belongs to. "00-<32 hex: trace>-<16 hex: parent>-<2 hex: flags>". */
#pragma once

#include <stdbool.h>

#define TRACEPARENT_SIZE 56 /* with NUL */
#define TRACE_ID_SIZE    33

/* Any version but ff, of which what version 00 has is read; no id is all zeroes. */
bool traceparent_is_valid(const char *text);
/* The same trace with a new parent id, as it is passed on; of a text that is NULL or not valid a
 * new trace, which nobody is known to record. */
void traceparent_continue(const char *text, char out[TRACEPARENT_SIZE]);
/* "" when it is not valid. */
void traceparent_trace_id(const char *text, char out[TRACE_ID_SIZE]);
