/* agent.json: decoded and checked once, before anything begins. */
#pragma once

#include "agent/storage/sr.h"
#include "base/json.h"
#include "protocol/inventory.h"

struct agent_config {
    char name[LIMIT_NAME + 1];
    char *state_directory, *run_directory;
    struct json_array coordinators; /* struct coordinator_address */
    struct {
        char address[64];
        int port;
    } link;
    struct json_array links; /* struct inventory_link: further addresses of it, by name */
    char hypervisor[16];
    char *qemu; /* options of the driver of that name: JSON text, NULL = none */
    char *libxl;
    struct json_array networks; /* struct inventory_network */
    struct json_array srs;      /* struct sr_config */
    uint64_t memory_bytes;      /* what domains can have of this host; 0 = what it has */
    char *nbdkit_plugin;
    int peer_retry_limit_s; /* how long an unreachable peer is waited for */
};

/* ERROR_INVALID with file, JSON pointer and what was expected. */
bool config_load(const char *path, struct agent_config *out, struct error *err) must_check;
void config_done(struct agent_config *config);
/* The options object of the chosen driver with what all drivers are told: run_directory and
 * memory_bytes. New reference. */
bool config_driver_options(const struct agent_config *config, json_t **options,
                           struct error *err) must_check;
