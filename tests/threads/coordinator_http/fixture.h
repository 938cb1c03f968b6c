/* What the thread tests of the HTTP server share: one server on free ports with a CA made for it.
 */
#pragma once

#include "coordinator/http/http.h"
#include "tests/threads/check.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>

/* Routes must be open ones: there is no database. */
struct http_server *fixture_start(const struct http_route *routes, size_t count);
/* Sets URL and trust. */
void fixture_aim(CURL *curl, const char *path);
/* Removes the CA's file. */
void fixture_end(void);
