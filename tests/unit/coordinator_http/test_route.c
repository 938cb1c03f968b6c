/* Which route a method and path find, and what an error becomes. */
#include "coordinator/http/server.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static bool no_handler(void *context, struct http_request *request, bool is_last_call,
                       struct http_answer *answer, struct error *err)
{
    (void)context, (void)request, (void)is_last_call, (void)answer;
    return error_set(err, ERROR_INTERNAL, "not called");
}

#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
static const struct http_route routes[] = {
    {"GET", "/", ACCESS_OPEN, no_handler, SCOPE_NONE},
    {"GET", "/a", ACCESS_VIEWER, no_handler, SCOPE_NONE},
    {"POST", "/a", ACCESS_VIEWER, no_handler, SCOPE_NONE},
    {"GET", "/a/{id}", ACCESS_VIEWER, no_handler, SCOPE_NONE},
    {"POST", "/a/{id}/b/{name}", ACCESS_VIEWER, no_handler, SCOPE_NONE},
    {"POST", "/agent", ACCESS_AGENT, no_handler, SCOPE_NONE},
};
static const struct http_server server = {.routes = routes,
                                          .route_count = sizeof routes / sizeof *routes};
static char parameters[4][129], allow[64];

static int find(enum http_port port, const char *method, const char *path)
{
    const struct http_route *route =
        http_route_find(&server, port, method, path, parameters, allow);
    return route ? (int)(route - routes) : -1;
}

Test(route, finds_by_method_and_whole_path)
{
    cr_assert_eq(find(HTTP_API_PORT, "GET", "/"), 0);
    cr_assert_eq(find(HTTP_API_PORT, "GET", "/a"), 1);
    cr_assert_eq(find(HTTP_API_PORT, "POST", "/a"), 2);
    cr_assert_eq(find(HTTP_API_PORT, "HEAD", "/a"), 1);
    cr_assert_eq(find(HTTP_API_PORT, "GET", "/a/x"), 3);
    cr_assert_str_eq(parameters[0], "x");
    cr_assert_eq(find(HTTP_API_PORT, "POST", "/a/one/b/two"), 4);
    cr_assert_str_eq(parameters[0], "one");
    cr_assert_str_eq(parameters[1], "two");
}

Test(route, nothing_else_fits)
{
    static const char *const paths[] = {"",      "a",      "//",      "/a/",       "/a//",
                                        "/a/x/", "/a/x/b", "/a/x/b/", "/ab",       "/a/x/c/y",
                                        "/A",    "/a/x/y", "/a//b/c", "/a/x/b/y/z"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        cr_assert_eq(find(HTTP_API_PORT, "GET", paths[i]), -1, "%s", paths[i]);
        cr_assert_eq(find(HTTP_API_PORT, "POST", paths[i]), -1, "%s", paths[i]);
    }
}

Test(route, a_parameter_has_at_most_128_bytes)
{
    char path[140] = "/a/";
    memset(path + 3, 'x', 128);
    cr_assert_eq(find(HTTP_API_PORT, "GET", path), 3);
    cr_assert_eq(strlen(parameters[0]), 128);
    path[131] = 'x';
    cr_assert_eq(find(HTTP_API_PORT, "GET", path), -1);
}

Test(route, another_method_is_told_which_are_allowed)
{
    cr_assert_eq(find(HTTP_API_PORT, "PUT", "/a"), -1);
    cr_assert_str_eq(allow, "GET, POST");
    cr_assert_eq(find(HTTP_API_PORT, "PUT", "/nothing"), -1);
    cr_assert_str_eq(allow, "");
}

Test(route, each_port_has_its_own)
{
    cr_assert_eq(find(HTTP_AGENT_PORT, "POST", "/agent"), 5);
    cr_assert_eq(find(HTTP_API_PORT, "POST", "/agent"), -1);
    cr_assert_eq(find(HTTP_AGENT_PORT, "GET", "/a"), -1);
    cr_assert_str_eq(allow, "");
}

Test(problem, has_the_status_and_type_of_its_code)
{
    static const struct {
        enum error_code code;
        int status;
        const char *type;
    } cases[] = {
        {ERROR_INVALID, 400, "urn:crosspool:problem:invalid"},
        {ERROR_REFUSED, 403, "urn:crosspool:problem:refused"},
        {ERROR_NOT_FOUND, 404, "urn:crosspool:problem:not-found"},
        {ERROR_CONFLICT, 409, "urn:crosspool:problem:conflict"},
        {ERROR_UNSUPPORTED, 422, "urn:crosspool:problem:unsupported"},
        {ERROR_INTERNAL, 500, "urn:crosspool:problem:internal"},
        {ERROR_UNREACHABLE, 503, "urn:crosspool:problem:unreachable"},
        {ERROR_TIMEOUT, 504, "urn:crosspool:problem:timeout"},
        {ERROR_NO_SPACE, 507, "urn:crosspool:problem:no-space"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct error err;
        error_set(&err, cases[i].code, "said \"so\"");
        char *text = http_problem(&err, NULL, "id-1");
        json_t *problem = json_loads(text, 0, NULL);
        cr_assert_not_null(problem, "%s", text);
        cr_assert_eq(http_status_of(cases[i].code), cases[i].status);
        cr_assert_eq(json_integer_value(json_object_get(problem, "status")), cases[i].status);
        cr_assert_str_eq(json_string_value(json_object_get(problem, "type")), cases[i].type);
        cr_assert_str_eq(json_string_value(json_object_get(problem, "detail")), "said \"so\"");
        cr_assert_str_eq(json_string_value(json_object_get(problem, "request")), "id-1");
        json_decref(problem);
        free(text);
    }
}
