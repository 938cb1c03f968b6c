/* Idempotency-Key: a POST that is repeated under its key is done once and answered the same.
 *
 * The answer is written in the transaction of the change itself (change.c), so there is no moment
 * at which one of them is there without the other. While a request runs, its key is an advisory
 * lock of that transaction: whoever repeats it meanwhile, at any coordinator, is told so at once,
 * and a coordinator that dies loses the lock with its connection, so no key can stay taken.
 *
 * Answers may hold secrets that are shown once. They are sealed with the caller's token, which the
 * database does not have, and so is the digest of the request. */
#include "coordinator/http/server.h"

#include "base/cleanup.h"
#include "base/seal.h"
#include "base/x509.h"
#include "coordinator/store/idempotency_store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    KEY_LONGEST = 128,
    RETRY_IN_FLIGHT_S = 1,
    REQUEST_OVERHEAD = 64 << 10, /* path and query, before the body */
};
#define KEY_EXPECTED "once, 1 to 128 printable ASCII characters"

struct key_search {
    const char *found;
    int count;
};

static enum MHD_Result look(void *context, enum MHD_ValueKind kind, const char *name,
                            const char *value)
{
    (void)kind;
    struct key_search *search = context;
    if (strcasecmp(name, "Idempotency-Key") == 0) {
        search->found = value ? value : "";
        search->count++;
    }
    return MHD_YES;
}

static bool is_printable(const char *text)
{
    while (*text >= 0x20 && *text < 0x7f)
        text++;
    return !*text;
}

bool http_key_read(struct http_exchange *exchange, const char **key, struct error *err)
{
    struct key_search search = {0};
    *key = NULL;
    if (strcmp(exchange->method, "POST") != 0 || exchange->route->access == ACCESS_AGENT)
        return true;
    (void)MHD_get_connection_values(exchange->connection, MHD_HEADER_KIND, look, &search);
    if (search.count == 0)
        return true;
    size_t length = strlen(search.found);
    if (search.count > 1 || length < 1 || length > KEY_LONGEST || !is_printable(search.found))
        return http_wrong_header(&exchange->request, "Idempotency-Key", KEY_EXPECTED, err);
    *key = search.found;
    return true;
}

/* Of the token, the method, the target and the body. */
static bool hash_request(const struct http_exchange *exchange, char hash[65], struct error *err)
{
    const struct http_request *request = &exchange->request;
    struct buffer text;
    buffer_init(&text, request->body_size + REQUEST_OVERHEAD);
    bool is_good = buffer_printf(&text, err, "%s %s ", exchange->bearer, exchange->method) &&
                   http_target(exchange, &text, err) &&
                   buffer_printf(&text, err, " %zu:", request->body_size) &&
                   buffer_append(&text, request->body, request->body_size, err);
    if (is_good)
        x509_sha256_hex(text.data, text.size, hash);
    if (text.data)
        explicit_bzero(text.data, text.size);
    buffer_done(&text);
    return is_good;
}

static void answer_key(const struct http_exchange *exchange, const char *key,
                       unsigned char out[SEAL_KEY_SIZE])
{
    char purpose[KEY_LONGEST + 32];
    snprintf(purpose, sizeof purpose, "idempotency answer %s", key);
    seal_key(exchange->bearer, purpose, out);
}

static bool open_body(const struct http_exchange *exchange, const char *key, const char *sealed,
                      char **body, struct error *err)
{
    unsigned char secret[SEAL_KEY_SIZE];
    answer_key(exchange, key, secret);
    bool is_open = seal_open(secret, sealed, body, err);
    explicit_bzero(secret, sizeof secret);
    if (!is_open)
        err->code = ERROR_INTERNAL; /* it is our own record */
    return is_open;
}

/* The answer of the first time. */
static bool repeat(struct http_exchange *exchange, const char *key,
                   const struct idempotency_record *record, struct error *err)
{
    struct http_answer *answer = &exchange->answer;
    char *body = NULL;
    if (record->sealed_body && !open_body(exchange, key, record->sealed_body, &body, err))
        return false;
    snprintf(exchange->content_type, sizeof exchange->content_type, "%s", record->content_type);
    *answer = (struct http_answer){.status = record->status,
                                   .body = body,
                                   .content_type =
                                       exchange->content_type[0] ? exchange->content_type : NULL,
                                   .retry_after_s = record->retry_after_s};
    snprintf(answer->location, sizeof answer->location, "%s", record->location);
    exchange->is_replayed = true;
    return true;
}

static bool answer_found(struct http_exchange *exchange, const char *key,
                         const struct idempotency_record *record, struct error *err)
{
    char hash[65];
    if (!hash_request(exchange, hash, err))
        return false;
    if (strcmp(record->request_hash, hash) == 0)
        return repeat(exchange, key, record, err);
    http_refuse(exchange, 422, "key-reused",
                "Idempotency-Key: another request was made under this key; use a new one");
    return true;
}

bool http_key_take(struct http_exchange *exchange, struct db *db, const char *key, bool *is_new,
                   struct error *err)
{
    const char *token = exchange->request.token.id;
    bool is_taken = false, is_found = false;
    struct idempotency_record record = {0};
    *is_new = false;
    if (!idempotency_store_lock(db, token, key, &is_taken, err))
        return false;
    if (!is_taken) {
        http_refuse(exchange, 409, "in-flight",
                    "Idempotency-Key: the request under this key is not answered yet");
        exchange->answer.retry_after_s = RETRY_IN_FLIGHT_S;
        return true;
    }
    if (!idempotency_store_find(db, token, key, &record, &is_found, err))
        return false;
    *is_new = !is_found;
    bool is_good = !is_found || answer_found(exchange, key, &record, err);
    idempotency_record_done(&record);
    return is_good;
}

bool http_key_keep(struct http_exchange *exchange, struct db *db, const char *key,
                   struct error *err)
{
    const struct http_answer *answer = &exchange->answer;
    struct idempotency_record record = {.status = answer->status ? answer->status : 200,
                                        .retry_after_s = answer->retry_after_s};
    if (!hash_request(exchange, record.request_hash, err))
        return false;
    snprintf(record.content_type, sizeof record.content_type, "%s",
             answer->content_type ? answer->content_type : "");
    snprintf(record.location, sizeof record.location, "%s", answer->location);
    if (answer->body) {
        unsigned char secret[SEAL_KEY_SIZE];
        answer_key(exchange, key, secret);
        record.sealed_body = seal_close(secret, answer->body);
        explicit_bzero(secret, sizeof secret);
    }
    bool is_kept = idempotency_store_keep(db, exchange->request.token.id, key, &record, err);
    idempotency_record_done(&record);
    return is_kept;
}
