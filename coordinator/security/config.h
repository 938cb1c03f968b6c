/* coordinator.json, decoded strictly. */
#pragma once

#include "base/json.h"
#include "coordinator/security/limits.h"

struct coordinator_listen {
    char *address;
    int port;
};

/* An operator's own certificate for the API port: paths of PEM files, NULL without one. */
struct coordinator_tls {
    char *certificate, *key;
};

struct coordinator_webhooks {
    bool allow_loopback; /* receivers on this machine, by http too */
    char *ca;            /* PEM file of certificates trusted besides the system's; NULL: none */
    int give_up_after_s; /* a delivery that is tried for longer is dead */
};

struct coordinator_config {
    char *database; /* libpq connection string */
    char *state_directory;
    char *schema_directory;
    char *openapi; /* the file served as /openapi.yaml */
    struct coordinator_listen api;
    struct coordinator_listen agents;
    struct json_array names; /* char *: DNS names and IP addresses of the server certificate */
    struct coordinator_tls tls;
    struct limits limits;
    int host_lost_after_s;
    uint64_t poll_cache_bytes; /* for answers kept in memory */
    int events_retained_h;
    int event_streams; /* open at once at this coordinator */
    struct coordinator_webhooks webhooks;
};

/* ERROR_INVALID names the file, the JSON pointer and what was expected. Free with
 * coordinator_config_done. */
bool coordinator_config_read(const char *path, struct coordinator_config *config,
                             struct error *err) must_check;
void coordinator_config_done(struct coordinator_config *config);
