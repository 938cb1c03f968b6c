/* POSTs deliveries; see webhook_post.h. Errors never name the URL, which may hold a secret. */
#include "coordinator/webhook/webhook_post.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/memory.h"
#include "coordinator/webhook/webhook_signature.h"
#include "coordinator/webhook/webhook_url.h"

#include <curl/curl.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>

enum {
    CONNECT_TIMEOUT_MS = 5000,
    CALL_TIMEOUT_MS = 10000,
    ANSWER_SIZE = 64 << 10, /* of the receiver's body, thrown away; more ends the call */
};

struct webhook_post {
    CURL *curl;
    struct webhook_post_config config;
    size_t answer_size;
    struct error refusal; /* why no socket was opened */
    bool is_refused;
};

static void init_library(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

bool webhook_post_open(struct webhook_post **out, const struct webhook_post_config *config,
                       struct error *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, init_library);
    CURL *curl = curl_easy_init();
    if (!curl)
        return error_set(err, ERROR_INTERNAL, "libcurl does not start");
    struct webhook_post *post = memory_alloc(sizeof *post);
    post->curl = curl;
    post->config = *config;
    *out = post;
    return true;
}

void webhook_post_close(struct webhook_post *post)
{
    if (!post)
        return;
    curl_easy_cleanup(post->curl);
    free(post);
}

static size_t drop_body(char *data, size_t size, size_t count, void *context)
{
    (void)data;
    struct webhook_post *post = context;
    post->answer_size += size * count;
    return post->answer_size <= ANSWER_SIZE ? size * count : 0;
}

static int ask_to_go_on(void *context, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    const struct webhook_post *post = context;
    (void)a, (void)b, (void)c, (void)d;
    return atomic_load(post->config.is_stopped);
}

/* Here stands what the name means now, whatever it meant when the webhook was made. */
static curl_socket_t open_socket(void *context, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct webhook_post *post = context;
    (void)purpose;
    post->is_refused =
        !webhook_address_check(&address->addr, post->config.is_loopback_allowed, &post->refusal);
    if (post->is_refused)
        return CURL_SOCKET_BAD;
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

static struct curl_slist *add_header(struct curl_slist *headers, const char *name,
                                     const char *value)
{
    auto_free char *line = memory_format("%s: %s", name, value);
    struct curl_slist *longer = curl_slist_append(headers, line);
    if (!longer)
        abort(); /* only memory can be missing */
    return longer;
}

static struct curl_slist *make_headers(const struct webhook_call *call)
{
    char signature[WEBHOOK_SIGNATURE_SIZE];
    webhook_signature(call->secret, clock_wall_s(), call->body, signature);
    struct curl_slist *headers = add_header(NULL, "Content-Type", "application/json");
    headers = add_header(headers, "Crosspool-Signature", signature);
    headers = add_header(headers, "Crosspool-Event-Id", call->event);
    headers = add_header(headers, "Crosspool-Event-Kind", call->kind);
    headers = add_header(headers, "Crosspool-Delivery", call->delivery);
    return add_header(headers, "Expect", "");
}

static void set_options(struct webhook_post *post, const struct webhook_call *call,
                        struct curl_slist *headers)
{
    CURL *curl = post->curl;
    curl_easy_reset(curl);
    curl_easy_setopt(curl, CURLOPT_URL, call->url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_TIMEOUT_MS);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)CALL_TIMEOUT_MS);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "crosspool");
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, call->body);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(call->body));
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, drop_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, post);
    curl_easy_setopt(curl, CURLOPT_OPENSOCKETFUNCTION, open_socket);
    curl_easy_setopt(curl, CURLOPT_OPENSOCKETDATA, post);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, ask_to_go_on);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, post);
    if (post->config.ca)
        curl_easy_setopt(curl, CURLOPT_CAINFO, post->config.ca);
}

bool webhook_post_send(struct webhook_post *post, const struct webhook_call *call, long *status,
                       struct error *err)
{
    struct curl_slist *headers = make_headers(call);
    set_options(post, call, headers);
    post->answer_size = 0;
    post->is_refused = false;
    CURLcode code = curl_easy_perform(post->curl);
    curl_slist_free_all(headers);
    long answered = 0;
    curl_easy_getinfo(post->curl, CURLINFO_RESPONSE_CODE, &answered);
    bool is_answer = code == CURLE_OK || (code == CURLE_WRITE_ERROR && answered);
    if (is_answer) {
        *status = answered;
        return true;
    }
    if (code == CURLE_ABORTED_BY_CALLBACK)
        return error_set(err, ERROR_CANCELLED, "the coordinator stops");
    if (post->is_refused) {
        *err = post->refusal;
        return false;
    }
    return error_set(err, code == CURLE_OPERATION_TIMEDOUT ? ERROR_TIMEOUT : ERROR_UNREACHABLE,
                     "no answer: %s", curl_easy_strerror(code));
}
