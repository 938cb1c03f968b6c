/* Webhooks: list, show, create, replace, remove, test. */
#include "coordinator/api/api.h"
#include "coordinator/api/handlers.h"

#include "base/cleanup.h"
#include "base/json_table.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/x509.h"
#include "coordinator/db/db.h"
#include "coordinator/domain/event.h"
#include "coordinator/security/config.h"
#include "coordinator/store/listing.h"
#include "coordinator/store/webhook_delivery.h"
#include "coordinator/store/webhook_store.h"
#include "coordinator/webhook/webhook_url.h"
#include "protocol/vocabulary.h"

#include <stdio.h>
#include <string.h>

enum {
    LIMIT_URL = 2048,
    LIMIT_KINDS = 64,
    SHORTEST_SECRET = 16,
    LONGEST_SECRET = 128,
    SECRET_BYTES = 32, /* of one that is made here */
};

struct webhook_request {
    char name[LIMIT_NAME + 1];
    char url[LIMIT_URL + 1];
    char secret[LONGEST_SECRET + 1]; /* "": not given */
    char resource[EVENT_RESOURCE_SIZE];
    char pool[LIMIT_NAME + 1]; /* id or name */
    struct json_array kinds;   /* char * */
    bool is_enabled, has_is_enabled;
    char pool_id[UUID_SIZE];
};
static const struct json_field webhook_request_fields[] = {
    JSON_CHARS("name", webhook_request, name, 1, true),
    JSON_CHARS("url", webhook_request, url, 1, true),
    JSON_CHARS("secret", webhook_request, secret, SHORTEST_SECRET, false),
    JSON_CHARS("resource", webhook_request, resource, 1, false),
    JSON_CHARS("pool", webhook_request, pool, 1, false),
    JSON_TEXTS("kinds", webhook_request, kinds, LIMIT_KINDS, false),
    {JSON_ROW("is_enabled", webhook_request, is_enabled, JSON_FIELD_BOOL, false),
     .presence_offset = offsetof(struct webhook_request, has_is_enabled)},
    {0},
};
static const char *const no_parameters[] = {NULL};

static void request_done(struct webhook_request *wanted)
{
    json_release(webhook_request_fields, wanted);
    explicit_bzero(wanted->secret, sizeof wanted->secret);
}

static bool check_secret(struct http_request *request, const char *secret, struct error *err)
{
    for (const char *p = secret; *p; p++) {
        if (*p <= ' ' || *p > '~')
            return field_wrong(&request->errors, "/secret", "has other characters",
                               "printable ASCII, no spaces", err);
    }
    return true;
}

static bool check_kinds(struct http_request *request, const struct json_array *kinds,
                        struct error *err)
{
    char *const *words = kinds->items;
    for (size_t i = 0; i < kinds->count; i++) {
        char pointer[32];
        snprintf(pointer, sizeof pointer, "/kinds/%zu", i);
        if (!event_kind_check(words[i], err))
            return http_wrong_member(request, pointer, "an EventKind of /openapi.yaml", err);
    }
    return true;
}

static bool check(const struct api_context *api, struct http_request *request,
                  struct webhook_request *wanted, struct error *err)
{
    if (!api_check_name(request, "webhook", wanted->name, err))
        return false;
    if (!webhook_url_check(wanted->url, api->config->webhooks.allow_loopback, err))
        return http_wrong_member(request, "/url", "the URL of a receiver, https://host/path", err);
    if (!check_secret(request, wanted->secret, err))
        return false;
    if (wanted->resource[0] && !event_resource_check(wanted->resource, err))
        return http_wrong_member(request, "/resource", "an EventResource of /openapi.yaml", err);
    if (!check_kinds(request, &wanted->kinds, err))
        return false;
    return !wanted->pool[0] ||
           listing_find_pool(request->db, request->token.scope, wanted->pool, wanted->pool_id, err);
}

static bool read_body(const struct api_context *api, struct http_request *request,
                      struct webhook_request *wanted, struct error *err)
{
    if (!http_body(request, webhook_request_fields, wanted, err))
        return false;
    if (check(api, request, wanted, err)) {
        wanted->is_enabled = wanted->is_enabled || !wanted->has_is_enabled;
        return true;
    }
    request_done(wanted);
    return false;
}

static const char *or_null(const char *text)
{
    return text[0] ? text : NULL;
}

static char *kinds_text(const struct json_array *kinds)
{
    char *const *words = kinds->items;
    json_auto_t *array = json_array();
    for (size_t i = 0; i < kinds->count; i++)
        json_array_append_new(array, json_string(words[i]));
    char *text = json_dumps(array, JSON_COMPACT);
    return text ? text : memory_copy_text("[]");
}

static struct webhook as_stored(const struct webhook_request *wanted, const char *kinds)
{
    return (struct webhook){.name = wanted->name,
                            .url = wanted->url,
                            .secret = or_null(wanted->secret),
                            .resource = or_null(wanted->resource),
                            .pool = or_null(wanted->pool_id),
                            .kinds = kinds,
                            .is_enabled = wanted->is_enabled};
}

bool api_webhooks_list(void *context, struct http_request *request, bool is_last_call,
                       struct http_answer *answer, struct error *err)
{
    (void)context;
    (void)is_last_call;
    return api_list(request, &webhook_list, NULL, answer, err);
}

static bool find(struct http_request *request, char id[UUID_SIZE], struct error *err)
{
    return http_query_only(request, no_parameters, err) &&
           webhook_store_find(request->db, request->parameters[0], id, err);
}

bool api_webhooks_show(void *context, struct http_request *request, bool is_last_call,
                       struct http_answer *answer, struct error *err)
{
    (void)context;
    (void)is_last_call;
    char id[UUID_SIZE];
    return find(request, id, err) && webhook_store_show(request->db, id, &answer->body, err);
}

/* The only answer that ever holds the secret; the audit log holds what is shown later. */
static bool answer_created(struct http_request *request, const char *id, const char *secret,
                           struct http_answer *answer, struct error *err)
{
    auto_free char *text = NULL;
    if (!webhook_store_show(request->db, id, &text, err))
        return false;
    http_audit(request, "webhook", id, NULL, text);
    json_t *body = json_loads(text, 0, NULL);
    json_object_set_new(body, "secret", json_string(secret));
    http_answer_json(answer, 201, body);
    snprintf(answer->location, sizeof answer->location, "/v1/webhooks/%s", id);
    return true;
}

bool api_webhooks_create(void *context, struct http_request *request, bool is_last_call,
                         struct http_answer *answer, struct error *err)
{
    (void)is_last_call;
    struct webhook_request wanted = {0};
    char id[UUID_SIZE];
    if (!http_query_only(request, no_parameters, err) || !read_body(context, request, &wanted, err))
        return false;
    if (!wanted.secret[0]) {
        memcpy(wanted.secret, "cpw_", 4);
        x509_random_hex(SECRET_BYTES, wanted.secret + 4);
    }
    auto_free char *kinds = kinds_text(&wanted.kinds);
    const struct webhook webhook = as_stored(&wanted, kinds);
    bool is_made = webhook_store_create(request->db, &webhook, id, err) &&
                   answer_created(request, id, wanted.secret, answer, err);
    if (is_made)
        log_info("token %s made webhook %s (%s)", request->token.name, wanted.name, id);
    request_done(&wanted);
    return is_made;
}

bool api_webhooks_replace(void *context, struct http_request *request, bool is_last_call,
                          struct http_answer *answer, struct error *err)
{
    (void)is_last_call;
    struct webhook_request wanted = {0};
    char id[UUID_SIZE];
    auto_free char *before = NULL;
    if (!find(request, id, err) || !read_body(context, request, &wanted, err))
        return false;
    auto_free char *kinds = kinds_text(&wanted.kinds);
    const struct webhook webhook = as_stored(&wanted, kinds);
    bool is_done = webhook_store_lock(request->db, id, err) &&
                   webhook_store_show(request->db, id, &before, err) &&
                   webhook_store_replace(request->db, id, &webhook, err) &&
                   webhook_store_show(request->db, id, &answer->body, err);
    request_done(&wanted);
    if (is_done)
        http_audit(request, "webhook", id, before, answer->body);
    return is_done;
}

bool api_webhooks_remove(void *context, struct http_request *request, bool is_last_call,
                         struct http_answer *answer, struct error *err)
{
    (void)context;
    (void)is_last_call;
    char id[UUID_SIZE];
    auto_free char *before = NULL;
    if (!find(request, id, err) || !webhook_store_lock(request->db, id, err) ||
        !webhook_store_show(request->db, id, &before, err) ||
        !webhook_store_remove(request->db, id, err))
        return false;
    http_audit(request, "webhook", id, before, NULL);
    answer->status = 204;
    return true;
}

bool api_webhooks_test(void *context, struct http_request *request, bool is_last_call,
                       struct http_answer *answer, struct error *err)
{
    (void)context;
    (void)is_last_call;
    char id[UUID_SIZE];
    if (!find(request, id, err) || !webhook_delivery_test(request->db, id, &answer->body, err))
        return false;
    http_audit(request, "webhook", id, NULL, answer->body);
    api_answer_delivery(id, answer);
    return true;
}
