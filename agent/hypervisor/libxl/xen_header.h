/* The first bytes of libxl's stream. libxl (4.17, and later ones up to now) calls a function that
 * it has not set yet, so the agent would die, when an operation fails or is aborted before libxl
 * has begun its helper process, which it does behind these bytes. So nothing may fail there: a
 * restore begins when they have come, and a save finds its stream open until they are written. */
#pragma once

#include "base/error.h"

/* Waits until the header is in the pipe, from which it takes nothing. ERROR_UNREACHABLE when the
 * stream ends before, ERROR_INVALID when it begins otherwise. */
bool xen_header_await(int pipe, struct error *err) must_check;
/* A second reading end of the pipe that `pipe` writes to, for the caller to close: as long as it is
 * open nothing that fits into the pipe can fail. -1 after a failure. */
int xen_header_hold(int pipe, struct error *err) must_check;
