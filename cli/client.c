/* HTTPS calls; see client.h. */
#include "cli/client.h"

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/memory.h"
#include "base/uuid.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    CONNECT_TIMEOUT_MS = 5000,
    CALL_TIMEOUT_MS = 60000,
    LIMIT_ANSWER = 256 << 20,
    ATTEMPTS = 3,
    ATTEMPT_REST_MS = 500,
    PAGE_ITEMS = 500,
};

struct client {
    CURL *curl;
    const struct session *session;
    char *authorization;
};

bool client_open(struct client **out, const struct session *session, struct error *err)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
    CURL *curl = curl_easy_init();
    if (!curl)
        return error_set(err, ERROR_INTERNAL, "libcurl does not start");
    struct client *client = memory_alloc(sizeof *client);
    client->curl = curl;
    client->session = session;
    client->authorization = memory_format("Authorization: Bearer %s", session->token);
    *out = client;
    return true;
}

void client_close(struct client *client)
{
    if (!client)
        return;
    curl_easy_cleanup(client->curl);
    explicit_bzero(client->authorization, strlen(client->authorization));
    free(client->authorization);
    free(client);
}

static size_t take_body(char *data, size_t size, size_t count, void *context)
{
    struct error err;
    return buffer_append(context, data, size * count, &err) ? size * count : 0;
}

static void set_options(struct client *client, const char *url, char *why)
{
    CURL *curl = client->curl;
    const char *ca = client->session->ca;
    struct curl_blob blob = {
        .data = (void *)(uintptr_t)ca, .len = strlen(ca), .flags = CURL_BLOB_COPY};
    curl_easy_reset(curl);
    *why = '\0';
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "https");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_TIMEOUT_MS);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)CALL_TIMEOUT_MS);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, why);
    curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(curl, CURLOPT_CAINFO_BLOB, &blob);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_body);
}

static bool perform(struct client *client, const char *url, const char *body,
                    struct curl_slist *headers, struct buffer *answer, long *status,
                    struct error *err)
{
    char why[CURL_ERROR_SIZE];
    CURL *curl = client->curl;
    buffer_clear(answer);
    set_options(client, url, why);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, answer);
    if (body) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(body));
    }
    CURLcode code = curl_easy_perform(curl);
    if (code == CURLE_OK) {
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, status);
        return true;
    }
    bool is_refused = code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_URL_MALFORMAT ||
                      code == CURLE_UNSUPPORTED_PROTOCOL || code == CURLE_SSL_CACERT_BADFILE;
    return error_set(err, is_refused ? ERROR_REFUSED : ERROR_UNREACHABLE, "%s: %s", url,
                     *why ? why : curl_easy_strerror(code));
}

/* The key stays the same, so that a call whose answer was lost is not done twice. */
static bool call_again(struct client *client, const char *url, const char *body,
                       struct buffer *answer, long *status, struct error *err)
{
    char id[UUID_SIZE];
    uuid_make(id);
    auto_free char *key = memory_format("Idempotency-Key: %s", id);
    struct curl_slist *headers = curl_slist_append(NULL, client->authorization);
    headers = curl_slist_append(headers, "Accept: application/json");
    if (body) {
        headers = curl_slist_append(headers, "Content-Type: application/json");
        headers = curl_slist_append(headers, key);
    }
    bool is_done = false;
    for (int i = 0; !is_done && i < ATTEMPTS; i++) {
        if (i > 0)
            clock_sleep_ms(ATTEMPT_REST_MS);
        is_done = perform(client, url, body, headers, answer, status, err);
        if (!is_done && err->code != ERROR_UNREACHABLE)
            break;
    }
    curl_slist_free_all(headers);
    return is_done;
}

static enum error_code code_of(long status)
{
    switch (status) {
    case 401:
    case 403:
        return ERROR_REFUSED;
    case 404:
        return ERROR_NOT_FOUND;
    case 409:
        return ERROR_CONFLICT;
    case 429:
    case 502:
    case 503:
    case 504:
        return ERROR_UNREACHABLE;
    default:
        return status < 500 ? ERROR_INVALID : ERROR_INTERNAL;
    }
}

bool client_call(struct client *client, const char *path, const char *body, json_t **answer,
                 struct error *err)
{
    struct buffer text;
    long status = 0;
    json_t *value = NULL;
    auto_free char *url = memory_format("%s%s", client->session->url, path);
    buffer_init(&text, LIMIT_ANSWER);
    bool is_done = call_again(client, url, body, &text, &status, err);
    bool is_json = is_done && json_parse(text.data ? text.data : "", text.size, &value, err);
    buffer_done(&text);
    *answer = value;
    if (!is_done || status < 400)
        return is_json;
    const char *detail = json_string_value(json_object_get(value, "detail"));
    return error_set(err, code_of(status), "%s",
                     detail ? detail : "the coordinator gives no reason");
}

bool client_list(struct client *client, const char *path, json_t **items, struct error *err)
{
    json_t *all = json_array();
    auto_free char *cursor = memory_copy_text("");
    do {
        auto_free char *page = memory_format("%s?limit=%d%s", path, PAGE_ITEMS, cursor);
        json_t *answer = NULL;
        if (!client_call(client, page, NULL, &answer, err)) {
            json_decref(answer);
            json_decref(all);
            return false;
        }
        json_array_extend(all, json_object_get(answer, "items"));
        const char *next = json_string_value(json_object_get(answer, "next"));
        free(cursor);
        cursor = next ? memory_format("&cursor=%s", next) : memory_copy_text("");
        json_decref(answer);
    } while (cursor[0]);
    *items = all;
    return true;
}
