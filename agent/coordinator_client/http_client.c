/* HTTPS with libcurl; see http_client.h. */
#include "agent/coordinator_client/http_client.h"

#include "base/cleanup.h"
#include "base/json.h"
#include "base/memory.h"

#include <curl/curl.h>
#include <pthread.h>
#include <string.h>

enum { CONNECT_TIMEOUT_MS = 5000, CHAIN_TIMEOUT_MS = 15000 };

struct http_client {
    CURL *curl;
    const atomic_bool *is_stopped;
};

static void init_library(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

bool http_client_open(struct http_client **out, const atomic_bool *is_stopped, struct error *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, init_library);
    CURL *curl = curl_easy_init();
    if (!curl)
        return error_set(err, ERROR_INTERNAL, "libcurl does not start");
    struct http_client *client = memory_alloc(sizeof *client);
    client->curl = curl;
    client->is_stopped = is_stopped;
    *out = client;
    return true;
}

void http_client_close(struct http_client *client)
{
    if (!client)
        return;
    curl_easy_cleanup(client->curl);
    free(client);
}

static size_t take_body(char *data, size_t size, size_t count, void *context)
{
    struct error err;
    return buffer_append(context, data, size * count, &err) ? size * count : 0;
}

static int ask_to_go_on(void *context, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    const struct http_client *client = context;
    (void)a, (void)b, (void)c, (void)d;
    return client->is_stopped && atomic_load(client->is_stopped);
}

static void set_blob(CURL *curl, CURLoption option, const char *text)
{
    struct curl_blob blob = {
        .data = (void *)(uintptr_t)text, .len = strlen(text), .flags = CURL_BLOB_COPY};
    curl_easy_setopt(curl, option, &blob);
}

static void set_trust(CURL *curl, const struct http_client_trust *trust)
{
    bool is_checked = trust->ca != NULL;
    curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, is_checked ? 1L : 0L);
    curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, is_checked ? 2L : 0L);
    if (is_checked)
        set_blob(curl, CURLOPT_CAINFO_BLOB, trust->ca);
    if (!trust->certificate)
        return;
    curl_easy_setopt(curl, CURLOPT_SSLCERTTYPE, "PEM");
    curl_easy_setopt(curl, CURLOPT_SSLKEYTYPE, "PEM");
    set_blob(curl, CURLOPT_SSLCERT_BLOB, trust->certificate);
    set_blob(curl, CURLOPT_SSLKEY_BLOB, trust->key);
}

/* A reset keeps the connections, which are used again only with the same trust. */
static void set_common(struct http_client *client, const char *url,
                       const struct http_client_trust *trust, char *why)
{
    CURL *curl = client->curl;
    curl_easy_reset(curl);
    *why = '\0';
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "https");
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_TIMEOUT_MS);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, why);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, ask_to_go_on);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, client);
    set_trust(curl, trust);
}

static bool curl_error(CURLcode code, const char *url, const char *why, struct error *err)
{
    const char *text = *why ? why : curl_easy_strerror(code);
    switch (code) {
    case CURLE_ABORTED_BY_CALLBACK:
        return error_set(err, ERROR_CANCELLED, "%s: the agent stops", url);
    case CURLE_OPERATION_TIMEDOUT:
        return error_set(err, ERROR_TIMEOUT, "%s: %s", url, text);
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CACERT_BADFILE:
        return error_set(err, ERROR_REFUSED, "%s: %s", url, text);
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
        return error_set(err, ERROR_INVALID, "%s: expected https://host:port", url);
    case CURLE_WRITE_ERROR:
        return error_set(err, ERROR_NO_SPACE, "%s: the answer is too long", url);
    default:
        return error_set(err, ERROR_UNREACHABLE, "%s: %s", url, text);
    }
}

static enum error_code code_of(long status)
{
    switch (status) {
    case 400:
    case 413:
    case 422:
        return ERROR_INVALID;
    case 401:
    case 403:
        return ERROR_REFUSED;
    case 404:
        return ERROR_NOT_FOUND;
    case 409:
        return ERROR_CONFLICT;
    default:
        return ERROR_UNREACHABLE;
    }
}

/* The detail of a problem document, as far as the answer is one. */
static bool problem(long status, const char *url, const struct buffer *answer, struct error *err)
{
    const char *detail = "";
    json_t *root = NULL;
    if (answer->size > 0 && json_parse(answer->data, answer->size, &root, err))
        detail = json_string_value(json_object_get(root, "detail"));
    error_set(err, code_of(status), "%s: HTTP %ld: %s", url, status, detail ? detail : "");
    json_decref(root);
    return false;
}

bool http_client_post(struct http_client *client, const char *base, const char *path,
                      const struct http_client_trust *trust, const char *body, int timeout_s,
                      struct buffer *answer, struct error *err)
{
    char why[CURL_ERROR_SIZE];
    auto_free char *url = memory_format("%s%s", base, path);
    buffer_clear(answer);
    set_common(client, url, trust, why);
    CURL *curl = client->curl;
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
    headers = curl_slist_append(headers, "Expect:");
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(body));
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, timeout_s * 1000L);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, answer);
    CURLcode code = curl_easy_perform(curl);
    curl_slist_free_all(headers);
    if (code != CURLE_OK)
        return curl_error(code, url, why, err);
    long status = 0;
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    return status < 300 || problem(status, url, answer, err);
}

static bool visit_chain(CURL *curl, http_client_visit *visit, void *context)
{
    static const char prefix[] = "Cert:";
    struct curl_certinfo *chain = NULL;
    if (curl_easy_getinfo(curl, CURLINFO_CERTINFO, &chain) != CURLE_OK || !chain)
        return false;
    for (int i = 0; i < chain->num_of_certs; i++)
        for (const struct curl_slist *item = chain->certinfo[i]; item; item = item->next)
            if (strncmp(item->data, prefix, sizeof prefix - 1) == 0 &&
                visit(context, item->data + sizeof prefix - 1))
                return true;
    return false;
}

bool http_client_chain(struct http_client *client, const char *base, http_client_visit *visit,
                       void *context, bool *was_found, struct error *err)
{
    char why[CURL_ERROR_SIZE];
    const struct http_client_trust nobody = {0};
    set_common(client, base, &nobody, why);
    curl_easy_setopt(client->curl, CURLOPT_CERTINFO, 1L);
    curl_easy_setopt(client->curl, CURLOPT_CONNECT_ONLY, 1L);
    curl_easy_setopt(client->curl, CURLOPT_TIMEOUT_MS, (long)CHAIN_TIMEOUT_MS);
    CURLcode code = curl_easy_perform(client->curl);
    if (code != CURLE_OK)
        return curl_error(code, base, why, err);
    *was_found = visit_chain(client->curl, visit, context);
    return true;
}
