/* coordinator.json: its table and its defaults. */
#include "coordinator/security/config.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "base/json_table.h"
#include "base/memory.h"

enum {
    CONFIG_SIZE = 64 << 10,
    CONFIG_PATH = 1024,
    CONFIG_NAMES = 32,
    DEFAULT_API_PORT = 8443,
    DEFAULT_AGENT_PORT = 8444,
    DEFAULT_HOST_LOST_AFTER_S = 60,
    DEFAULT_POLL_CACHE_BYTES = 64 << 20,
    DEFAULT_EVENTS_RETAINED_H = 168,
    MOST_EVENTS_RETAINED_H = 24 * 366,
    DEFAULT_EVENT_STREAMS = 10000,
    MOST_EVENT_STREAMS = 50000,
    DEFAULT_GIVE_UP_AFTER_S = 86400,
    MOST_GIVE_UP_AFTER_S = 7 * 86400,
};

static const struct json_field listen_fields[] = {
    JSON_TEXT("address", coordinator_listen, address, 2, 64, true),
    JSON_INT("port", coordinator_listen, port, 1, 65535, true),
    {0},
};

static const struct json_field tls_fields[] = {
    JSON_TEXT("certificate", coordinator_tls, certificate, 1, CONFIG_PATH, true),
    JSON_TEXT("key", coordinator_tls, key, 1, CONFIG_PATH, true),
    {0},
};

static const struct limits default_limits = {
    .requests_per_s = 5000,
    .request_burst = 10000,
    .failures_per_minute = 300,
    .failure_burst = 50,
    .connections = 1024,
    .connections_per_address = 512,
    .agent_connections = 24576, /* each agent polls on one and reports on another */
    .header_s = 20,
    .body_s = 60,
};

static const struct json_field limits_fields[] = {
    JSON_INT("requests_per_s", limits, requests_per_s, 1, 100000, false),
    JSON_INT("request_burst", limits, request_burst, 1, 1000000, false),
    JSON_INT("failures_per_minute", limits, failures_per_minute, 1, 1000000, false),
    JSON_INT("failure_burst", limits, failure_burst, 1, 1000000, false),
    JSON_INT("connections", limits, connections, 1, LIMITS_CONNECTIONS, false),
    JSON_INT("connections_per_address", limits, connections_per_address, 1, LIMITS_CONNECTIONS,
             false),
    JSON_INT("agent_connections", limits, agent_connections, 1, LIMITS_CONNECTIONS, false),
    JSON_INT("header_s", limits, header_s, 1, 3600, false),
    JSON_INT("body_s", limits, body_s, 1, 3600, false),
    {0},
};

static const struct json_field webhooks_fields[] = {
    JSON_BOOL("allow_loopback", coordinator_webhooks, allow_loopback, false),
    JSON_TEXT("ca", coordinator_webhooks, ca, 1, CONFIG_PATH, false),
    JSON_INT("give_up_after_s", coordinator_webhooks, give_up_after_s, 1, MOST_GIVE_UP_AFTER_S,
             false),
    {0},
};

static const struct json_field config_fields[] = {
    JSON_TEXT("database", coordinator_config, database, 1, 2048, true),
    JSON_TEXT("state_directory", coordinator_config, state_directory, 1, CONFIG_PATH, true),
    JSON_TEXT("schema_directory", coordinator_config, schema_directory, 1, CONFIG_PATH, false),
    JSON_TEXT("openapi", coordinator_config, openapi, 1, CONFIG_PATH, false),
    JSON_OBJECT("api", coordinator_config, api, listen_fields, false),
    JSON_OBJECT("agents", coordinator_config, agents, listen_fields, false),
    JSON_TEXTS("names", coordinator_config, names, CONFIG_NAMES, false),
    JSON_OBJECT("tls", coordinator_config, tls, tls_fields, false),
    JSON_OBJECT("limits", coordinator_config, limits, limits_fields, false),
    JSON_INT("host_lost_after_s", coordinator_config, host_lost_after_s, 5, 86400, false),
    JSON_UINT64("poll_cache_bytes", coordinator_config, poll_cache_bytes, 1, UINT32_MAX, false),
    JSON_INT("events_retained_h", coordinator_config, events_retained_h, 1, MOST_EVENTS_RETAINED_H,
             false),
    JSON_INT("event_streams", coordinator_config, event_streams, 1, MOST_EVENT_STREAMS, false),
    JSON_OBJECT("webhooks", coordinator_config, webhooks, webhooks_fields, false),
    {0},
};

static void default_text(char **text, const char *value)
{
    if (!*text)
        *text = memory_copy_text(value);
}

static void default_number(int *number, int value)
{
    if (!*number)
        *number = value;
}

static void default_listen(struct coordinator_listen *listen, int port)
{
    default_text(&listen->address, "127.0.0.1");
    default_number(&listen->port, port);
}

static void default_names(struct json_array *names)
{
    if (names->count)
        return;
    free(names->items);
    char **items = memory_array(2, sizeof *items);
    items[0] = memory_copy_text("localhost");
    items[1] = memory_copy_text("127.0.0.1");
    *names = (struct json_array){.items = items, .count = 2};
}

bool coordinator_config_read(const char *path, struct coordinator_config *config, struct error *err)
{
    auto_free char *text = NULL;
    size_t size = 0;
    struct coordinator_config read = {.limits = default_limits};
    if (!file_read(path, CONFIG_SIZE, &text, &size, err))
        return error_prefix(err, "configuration");
    if (!json_decode_text(text, size, config_fields, &read, err))
        return error_prefix(err, "configuration %s", path);
    default_text(&read.schema_directory, "/usr/share/crosspool/migrations");
    default_text(&read.openapi, "/usr/share/crosspool/openapi.yaml");
    default_listen(&read.api, DEFAULT_API_PORT);
    default_listen(&read.agents, DEFAULT_AGENT_PORT);
    default_names(&read.names);
    default_number(&read.host_lost_after_s, DEFAULT_HOST_LOST_AFTER_S);
    default_number(&read.events_retained_h, DEFAULT_EVENTS_RETAINED_H);
    default_number(&read.event_streams, DEFAULT_EVENT_STREAMS);
    default_number(&read.webhooks.give_up_after_s, DEFAULT_GIVE_UP_AFTER_S);
    if (!read.poll_cache_bytes)
        read.poll_cache_bytes = DEFAULT_POLL_CACHE_BYTES;
    *config = read;
    return true;
}

void coordinator_config_done(struct coordinator_config *config)
{
    json_release(config_fields, config);
}
