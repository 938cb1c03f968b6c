/* Any request line, header and body over TLS to a real server with the decoders of the API and of
 * agents behind it: each complete request has one answer, a refusal is a problem document, and none
 * is a 5xx.
 *
 * An input is a byte that chooses the method, a line with the target, a line with one header, and
 * the body. */
#include "fixture.h"

#include "base/log.h"
#include "coordinator/domain/evacuation.h"
#include "protocol/agent_api.h"

#include <assert.h>
#include <poll.h>
#include <string.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ANSWER_SIZE = 64 << 10, REQUEST_SIZE = 80 << 10, SILENCE_MS = 200 };

static bool take_evacuation(void *context, struct http_request *request, bool is_last_call,
                            struct http_answer *answer, struct error *err)
{
    (void)context, (void)is_last_call;
    struct evacuation_request wanted = {0};
    if (!http_body(request, evacuation_request_fields, &wanted, err))
        return false;
    answer->body = json_encode_text(evacuation_request_fields, &wanted);
    json_release(evacuation_request_fields, &wanted);
    return true;
}

static bool take_report(void *context, struct http_request *request, bool is_last_call,
                        struct http_answer *answer, struct error *err)
{
    (void)context, (void)is_last_call;
    struct agent_report report = {0};
    if (!http_body(request, agent_report_fields, &report, err))
        return false;
    answer->body = json_encode_text(agent_report_fields, &report);
    json_release(agent_report_fields, &report);
    return true;
}

static bool show(void *context, struct http_request *request, bool is_last_call,
                 struct http_answer *answer, struct error *err)
{
    static const char *const allowed[] = {"limit", "cursor", "fields", NULL};
    (void)context, (void)is_last_call;
    if (!http_query_only(request, allowed, err))
        return false;
    const char *cursor = http_query(request, "cursor");
    http_answer_json(answer, 200,
                     json_pack("{s:s, s:s?}", "id", request->parameters[0], "cursor", cursor));
    return true;
}

#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
static const struct http_route routes[] = {
    {"POST", "/v1/evacuations", ACCESS_PLAIN, take_evacuation, SCOPE_NONE},
    {"POST", "/agent/v1/report", ACCESS_PLAIN, take_report, SCOPE_NONE},
    {"GET", "/v1/pools/{id}", ACCESS_PLAIN, show, SCOPE_NONE},
};
static const char *const methods[] = {"POST", "GET", "PUT", "HEAD", "DELETE"};

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    log_init("fuzz-http", LOG_ERROR);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    if (!fixture_start(routes, sizeof routes / sizeof *routes)) /* its threads hold it */
        abort();
    atexit(fixture_end);
    return 0;
}

/* The next line; what would end a header early is made a space. */
static size_t take_line(const uint8_t **data, size_t *size, char *out, size_t out_size)
{
    size_t used = 0;
    for (; *size > 0 && **data != '\n'; (*data)++, (*size)--) {
        if (used + 1 < out_size)
            out[used++] = **data == '\r' || **data == '\0' ? ' ' : (char)**data;
    }
    if (*size > 0)
        (*data)++, (*size)--;
    out[used] = '\0';
    return used;
}

static bool await(CURL *curl, short what)
{
    curl_socket_t fd = CURL_SOCKET_BAD;
    curl_easy_getinfo(curl, CURLINFO_ACTIVESOCKET, &fd);
    struct pollfd one = {.fd = fd, .events = what};
    return poll(&one, 1, SILENCE_MS) == 1;
}

static bool send_all(CURL *curl, const char *data, size_t size)
{
    size_t sent = 0;
    while (size > 0) {
        CURLcode code = curl_easy_send(curl, data, size, &sent);
        if (code == CURLE_OK)
            data += sent, size -= sent;
        else if (code != CURLE_AGAIN || !await(curl, POLLOUT))
            return false;
    }
    return true;
}

/* Until the server closes, or says nothing more: a header may announce a longer body. */
static size_t receive_all(CURL *curl, char *out)
{
    size_t used = 0, received = 0;
    while (used + 1 < ANSWER_SIZE) {
        CURLcode code = curl_easy_recv(curl, out + used, ANSWER_SIZE - 1 - used, &received);
        if (code == CURLE_AGAIN && await(curl, POLLIN))
            continue;
        if (code != CURLE_OK || received == 0)
            break;
        used += received;
    }
    out[used] = '\0';
    return used;
}

static void check(const char *answer, bool is_head)
{
    int status = 0;
    if (!answer[0])
        return; /* closed in the middle of what was sent, or still waited for */
    assert(sscanf(answer, "HTTP/1.%*1d %3d", &status) == 1);
    assert(status >= 100 && status < 500);
    const char *body = strstr(answer, "\r\n\r\n");
    assert(body);
    bool is_ours = strstr(answer, "application/problem+json") != NULL;
    if (status < 400 || is_head || !is_ours)
        return; /* what the library itself refuses is in its own words */
    json_t *problem = json_loads(body + 4, JSON_REJECT_DUPLICATES, NULL);
    assert(json_integer_value(json_object_get(problem, "status")) == status);
    json_decref(problem);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char request[REQUEST_SIZE], answer[ANSWER_SIZE], target[9000], header[9000];
    if (size < 1)
        return 0;
    const char *method = methods[data[0] % (sizeof methods / sizeof *methods)];
    data++, size--;
    take_line(&data, &size, target, sizeof target);
    bool has_header = take_line(&data, &size, header, sizeof header) > 0;
    size_t body = size < REQUEST_SIZE / 2 ? size : REQUEST_SIZE / 2;
    int head = snprintf(request, sizeof request,
                        "%s /%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                        "Content-Length: %zu\r\n%s%s\r\n",
                        method, target, body, header, has_header ? "\r\n" : "");
    assert(head > 0 && (size_t)head + body <= sizeof request);
    memcpy(request + head, data, body);

    CURL *curl = curl_easy_init();
    fixture_aim(curl, "/");
    curl_easy_setopt(curl, CURLOPT_CONNECT_ONLY, 1L);
    CURLcode connected = curl_easy_perform(curl);
    assert(connected == CURLE_OK);
    (void)send_all(curl, request, (size_t)head + body);
    receive_all(curl, answer);
    check(answer, strcmp(method, "HEAD") == 0);
    curl_easy_cleanup(curl);
    return 0;
}
