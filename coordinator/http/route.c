/* Finds the route of a method and path. */
#include "coordinator/http/server.h"

#include "base/utf8.h"

#include <stdio.h>
#include <string.h>

/* Takes the text up to the next '/', and moves behind it. */
static size_t segment(const char **path)
{
    size_t length = strcspn(*path, "/");
    *path += length;
    if (**path == '/')
        (*path)++;
    return length;
}

/* Compares segment by segment; {...} takes any segment of 1 to 128 bytes. */
static bool matches(const char *pattern, const char *path, char parameters[4][129])
{
    int count = 0;
    while (*pattern && *path) {
        const char *pattern_part = pattern, *path_part = path;
        size_t pattern_length = segment(&pattern), path_length = segment(&path);
        if (pattern_part[0] == '{' && count < 4) {
            if (path_length < 1 || path_length > 128)
                return false;
            snprintf(parameters[count++], 129, "%.*s", (int)path_length, path_part);
        } else if (pattern_length != path_length ||
                   memcmp(pattern_part, path_part, path_length) != 0) {
            return false;
        }
        if ((pattern[-1] == '/') != (path[-1] == '/'))
            return false;
    }
    return !*pattern && !*path;
}

static bool is_served(enum http_port port, const struct http_route *route)
{
    return (route->access == ACCESS_AGENT) == (port == HTTP_AGENT_PORT);
}

static void add_allowed(char allow[64], const char *method)
{
    size_t used = strlen(allow);
    snprintf(allow + used, 64 - used, "%s%s", used ? ", " : "", method);
}

const struct http_route *http_route_find(const struct http_server *server, enum http_port port,
                                         const char *method, const char *path,
                                         char parameters[4][129], char allow[64])
{
    const char *wanted = strcmp(method, "HEAD") == 0 ? "GET" : method;
    allow[0] = '\0';
    if (!utf8_is_valid(path))
        return NULL; /* no name is so */
    for (size_t i = 0; i < server->route_count; i++) {
        const struct http_route *route = &server->routes[i];
        if (!is_served(port, route) || !matches(route->path, path, parameters))
            continue;
        if (strcmp(route->method, wanted) == 0)
            return route;
        add_allowed(allow, route->method);
    }
    return NULL;
}
