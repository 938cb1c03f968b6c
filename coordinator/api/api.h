/* The resources of the REST API: one file each, one handler per operation, and the table of all
 * routes. api/openapi.yaml lists the same operations; a test compares them both ways. */
#pragma once

#include "coordinator/http/http.h"

extern const struct http_route api_routes[];
extern const size_t api_route_count;

/* What handlers get as `context`. */
struct api_context {
    struct http_server *http; /* set once the server runs */
    const struct ca *ca;
    const struct coordinator_config *config;
};
