/* The agent's end of the conversation with the coordinators: one thread polls for steps, one
 * reports, one looks at the host. None of them ever blocks a step. Coordinators are tried in turn;
 * while none answers the pauses grow, with a random part.
 *
 * An inventory that was begun before a step ended is never sent after that step's result: the
 * number of ended steps is taken before the look begins, results and inventories are sent by one
 * thread, and it drops an inventory whose number is not the present one. Each ended step makes a
 * new look begin, which is sent at once. */
#pragma once

#include "agent/coordinator_client/enrolment.h"
#include "agent/coordinator_client/identity.h"
#include "agent/inventory/inventory_builder.h"
#include "agent/journal/journal.h"
#include "protocol/agent_api.h"

struct coordinator_client;

/* What the client asks of the rest of the agent; from its own threads. */
struct coordinator_client_hooks {
    void *context;
    /* Polls: what is known, what to do. */
    void (*known)(void *context, struct agent_poll *out);
    bool (*accept)(void *context, const struct step *step, struct error *err);
    void (*cancel)(void *context, const char *step);
    /* Which settings are known (struct settings_known, at most 1024), and newer ones. */
    void (*settings_known)(void *context, struct json_array *out);
    bool (*settings)(void *context, const struct transfer_settings *settings, struct error *err);
    /* Reports: results (struct step_result), progress (struct migration_progress). */
    bool (*results)(void *context, struct json_array *out, struct error *err);
    bool (*reported)(void *context, const char *step, struct error *err);
    void (*progress)(void *context, struct json_array *out);
    /* How many steps have ended; grows after a step's last act and before its result is among
     * `results`. */
    int64_t (*finished)(void *context);
    /* Waits for a new result; `wake` ends the waiting. */
    void (*wait)(void *context, int timeout_ms);
    void (*wake)(void *context);
    /* The identity has a new certificate. */
    bool (*renewed)(void *context, struct error *err);
};

struct coordinator_client_config {
    const struct coordinator_address *coordinators;
    size_t coordinator_count;
    struct identity *identity;
    struct journal *journal;
    struct inventory_source inventory;
    struct coordinator_client_hooks hooks;
};

/* `config` is copied, what it points to is borrowed. */
bool coordinator_client_start(struct coordinator_client **out,
                              const struct coordinator_client_config *config,
                              struct error *err) must_check;
/* The host has changed: it is looked at now, and what is new is sent at once. Does not wait. */
void coordinator_client_look(struct coordinator_client *client);
/* Breaks off calls that are under way, joins; NULL is fine. */
void coordinator_client_stop(struct coordinator_client *client);
