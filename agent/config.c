/* The agent's configuration: table, defaults, checks that a table cannot say. */
#include "agent/config.h"

#include "agent/coordinator_client/enrolment.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/json_table.h"
#include "base/memory.h"

#include <string.h>

enum {
    CONFIG_LIMIT = 1 << 20,
    LIMIT_URL = 512,
    LIMIT_COORDINATORS = 16,
    LIMIT_OPTIONS = 64 << 10,
    PEER_RETRY_LIMIT_S = 300,
};
static const char default_plugin[] = "/usr/lib/crosspool/nbdkit-crosspool-plugin.so";

static const struct json_field coordinator_fields[] = {
    JSON_TEXT("api", coordinator_address, api, 1, LIMIT_URL, true),
    JSON_TEXT("agent", coordinator_address, agent, 1, LIMIT_URL, true),
    JSON_TEXT("ca", coordinator_address, ca, 1, LIMIT_PATH, false),
    JSON_TEXT("ca_sha256", coordinator_address, ca_sha256, 64, 95, false),
    {0},
};

static const struct json_field network_fields[] = {
    JSON_CHARS("name", inventory_network, name, 1, true),
    JSON_CHARS("bridge", inventory_network, bridge, 1, true),
    JSON_INT("vlan", inventory_network, vlan, 1, 4094, false),
    {0},
};

static const struct json_field named_link_fields[] = {
    JSON_CHARS("name", inventory_link, name, 1, true),
    JSON_CHARS("address", inventory_link, address, 1, true),
    JSON_INT("port", inventory_link, port, 1, 65535, true),
    {0},
};

static const struct json_field sr_fields[] = {
    JSON_CHARS("name", sr_config, name, 1, true),
    JSON_CHARS("type", sr_config, type, 1, true),
    JSON_CHARS("location", sr_config, location, 1, true),
    {0},
};

static const struct json_field link_fields[] = {
    {.name = "address",
     .kind = JSON_FIELD_CHARS,
     .offset = offsetof(struct agent_config, link.address) - offsetof(struct agent_config, link),
     .size = sizeof(((struct agent_config *)0)->link.address),
     .min = 1,
     .is_required = true},
    {.name = "port",
     .kind = JSON_FIELD_INT,
     .offset = offsetof(struct agent_config, link.port) - offsetof(struct agent_config, link),
     .min = 1,
     .max = 65535,
     .is_required = true},
    {0},
};

static const struct json_field config_fields[] = {
    JSON_CHARS("name", agent_config, name, 1, true),
    JSON_TEXT("state_directory", agent_config, state_directory, 1, LIMIT_PATH, true),
    JSON_TEXT("run_directory", agent_config, run_directory, 1, LIMIT_PATH, true),
    JSON_LIST("coordinators", agent_config, coordinators, coordinator_address, LIMIT_COORDINATORS,
              coordinator_fields, true),
    JSON_OBJECT("link", agent_config, link, link_fields, true),
    JSON_LIST("links", agent_config, links, inventory_link, LIMIT_LINKS, named_link_fields, false),
    JSON_CHARS("hypervisor", agent_config, hypervisor, 1, true),
    {JSON_ROW("qemu", agent_config, qemu, JSON_FIELD_ANY, false), .max = LIMIT_OPTIONS},
    {JSON_ROW("libxl", agent_config, libxl, JSON_FIELD_ANY, false), .max = LIMIT_OPTIONS},
    JSON_LIST("networks", agent_config, networks, inventory_network, LIMIT_NETWORKS, network_fields,
              true),
    JSON_LIST("srs", agent_config, srs, sr_config, LIMIT_SRS, sr_fields, true),
    JSON_UINT64("memory_bytes", agent_config, memory_bytes, 0, INT64_MAX, false),
    JSON_TEXT("nbdkit_plugin", agent_config, nbdkit_plugin, 1, LIMIT_PATH, false),
    JSON_INT("peer_retry_limit_s", agent_config, peer_retry_limit_s, 1, 86400, false),
    {0},
};

static bool check_absolute(const char *pointer, const char *path, struct error *err)
{
    if (path[0] == '/')
        return true;
    return error_set(err, ERROR_INVALID, "%s: expected an absolute path, not \"%s\"", pointer,
                     path);
}

/* "https://host:port" and nothing behind it: the calls' paths are appended. */
static bool check_url(const char *member, size_t index, const char *url, struct error *err)
{
    static const char scheme[] = "https://";
    size_t length = strlen(scheme);
    bool is_fine = strncmp(url, scheme, length) == 0 && url[length] && !strpbrk(url + length, "/@");
    return is_fine || error_set(err, ERROR_INVALID,
                                "/coordinators/%zu/%s: expected https://host:port, not \"%s\"",
                                index, member, url);
}

static bool check_coordinators(const struct agent_config *config, struct error *err)
{
    const struct coordinator_address *items = config->coordinators.items;
    if (config->coordinators.count == 0)
        return error_set(err, ERROR_INVALID, "/coordinators: expected at least one");
    for (size_t i = 0; i < config->coordinators.count; i++)
        if (!check_url("api", i, items[i].api, err) || !check_url("agent", i, items[i].agent, err))
            return false;
    return true;
}

static bool check_networks(const struct agent_config *config, struct error *err)
{
    const struct inventory_network *items = config->networks.items;
    for (size_t i = 0; i < config->networks.count; i++)
        for (size_t j = 0; j < i; j++)
            if (strcmp(items[i].name, items[j].name) == 0)
                return error_set(err, ERROR_INVALID, "/networks/%zu/name: \"%s\" is there twice", i,
                                 items[i].name);
    return true;
}

static bool check_links(const struct agent_config *config, struct error *err)
{
    const struct inventory_link *items = config->links.items;
    for (size_t i = 0; i < config->links.count; i++)
        for (size_t j = 0; j < i; j++)
            if (strcmp(items[i].name, items[j].name) == 0)
                return error_set(err, ERROR_INVALID, "/links/%zu/name: \"%s\" is there twice", i,
                                 items[i].name);
    return true;
}

static bool check(const struct agent_config *config, struct error *err)
{
    bool is_driver =
        strcmp(config->hypervisor, "qemu") == 0 || strcmp(config->hypervisor, "libxl") == 0;
    if (!is_driver)
        return error_set(err, ERROR_INVALID, "/hypervisor: expected \"qemu\" or \"libxl\"");
    return check_absolute("/state_directory", config->state_directory, err) &&
           check_absolute("/run_directory", config->run_directory, err) &&
           check_absolute("/nbdkit_plugin", config->nbdkit_plugin, err) &&
           check_coordinators(config, err) && check_networks(config, err) &&
           check_links(config, err);
}

bool config_load(const char *path, struct agent_config *out, struct error *err)
{
    struct agent_config config = {.peer_retry_limit_s = PEER_RETRY_LIMIT_S};
    auto_free char *text = NULL;
    size_t size = 0;
    if (!file_read(path, CONFIG_LIMIT, &text, &size, err))
        return false;
    if (!json_decode_text(text, size, config_fields, &config, err))
        return error_prefix(err, "%s", path);
    if (!config.nbdkit_plugin)
        config.nbdkit_plugin = memory_copy_text(default_plugin);
    if (!check(&config, err)) {
        config_done(&config);
        return error_prefix(err, "%s", path);
    }
    *out = config;
    return true;
}

void config_done(struct agent_config *config)
{
    json_release(config_fields, config);
}

bool config_driver_options(const struct agent_config *config, json_t **options, struct error *err)
{
    const char *text = strcmp(config->hypervisor, "qemu") == 0 ? config->qemu : config->libxl;
    json_t *object = NULL;
    if (!text)
        object = json_object();
    else if (!json_parse(text, strlen(text), &object, err))
        return error_prefix(err, "/%s", config->hypervisor);
    if (!json_is_object(object)) {
        json_decref(object);
        return error_set(err, ERROR_INVALID, "/%s: expected an object", config->hypervisor);
    }
    if (json_object_get(object, "run_directory") || json_object_get(object, "state_directory") ||
        json_object_get(object, "memory_bytes")) {
        json_decref(object);
        return error_set(err, ERROR_INVALID,
                         "/%s: run_directory, state_directory and memory_bytes stand outside of it",
                         config->hypervisor);
    }
    json_object_set_new(object, "run_directory", json_string(config->run_directory));
    if (strcmp(config->hypervisor, "libxl") == 0) /* what it must not forget */
        json_object_set_new(object, "state_directory", json_string(config->state_directory));
    if (config->memory_bytes > 0)
        json_object_set_new(object, "memory_bytes", json_integer((json_int_t)config->memory_bytes));
    *options = object;
    return true;
}
