/* The two calls of an agent, both POST with JSON over mutual TLS to the coordinator's agent port.
 *
 * POST /agent/v1/report  never waits: inventory when it changed, progress, results, ledger entries.
 *                        A 204 means that all of it is durable at the coordinator.
 * POST /agent/v1/poll    parks up to 25 s until there is a step for this host that is not in
 *                        `known`, a cancellation that is not in `cancelling`, or settings of a
 *                        higher version than those in `settings`.
 * POST /agent/v1/enrol   on the API port, without a certificate: a one-time token and a CSR for a
 *                        certificate.
 * POST /agent/v1/renew   a CSR for a new certificate, with the old one. */
#pragma once

#include "protocol/inventory.h"
#include "protocol/progress.h"
#include "protocol/step.h"

/* An agent waits so long for the answer to a report, from before it connects. */
enum { AGENT_REPORT_TIMEOUT_S = 20 };

/* One object that a migration creates, written down before it is made. */
struct ledger_entry {
    int64_t sequence; /* grows with each change at this host */
    char migration[UUID_SIZE];
    char kind[24];       /* "vdi", "receiver", "domain", "bitmap", "target-node", "reader",
                            "chunk-map", "socket", "memory-file", "journal" */
    char reference[256]; /* what it is called there */
    bool is_removed;     /* false: exists or may exist; true: gone, or became the VM's own */
};

struct agent_report {
    /* Grows with each inventory of this host, over restarts; without an inventory: the latest one.
     * With results: an inventory that has it or a lower one, and comes later, is left out. */
    int64_t inventory_generation;
    int64_t clock_ms; /* Unix time of the host when it was sent; 0 = not told */
    bool has_inventory;
    struct inventory inventory;
    struct json_array progress; /* struct migration_progress */
    struct json_array results;  /* struct step_result */
    struct json_array ledger;   /* struct ledger_entry, in order of sequence */
};
extern const struct json_field agent_report_fields[];

/* What may change while a migration is transferred; always all of it. A higher version replaces a
 * lower one, whichever way round they arrive; version 0, which is never sent, is the spec. */
struct transfer_settings {
    char migration[UUID_SIZE];
    int64_t version;
    uint64_t bandwidth_bytes_per_s; /* cap of the copy; 0 = none */
    bool is_copy_paused;            /* mirrors go on */
    bool is_switchover_held;        /* mirrored and copied, the transfer goes on until it is not */
};
/* The version of them that an agent has. */
struct settings_known {
    char migration[UUID_SIZE];
    int64_t version;
};

struct agent_poll {
    struct json_array known;      /* char *: ids of steps in the agent's journal not yet reported */
    struct json_array cancelling; /* char *: those of them it knows to be cancelled */
    bool has_settings;            /* it understands settings in the answer */
    struct json_array settings;   /* struct settings_known */
    bool takes_traceparent;       /* it understands `traceparent` in the spec of a step */
};
extern const struct json_field agent_poll_fields[];

struct agent_poll_answer {
    struct json_array steps;    /* struct step */
    struct json_array cancel;   /* char *: ids of steps to stop */
    bool has_settings;          /* only to an agent that understands them */
    struct json_array settings; /* struct transfer_settings; before the steps */
};
extern const struct json_field agent_poll_answer_fields[];

struct agent_enrol {
    char token[129];
    char *csr;
};
extern const struct json_field agent_enrol_fields[];
struct agent_enrol_answer {
    char host[UUID_SIZE];
    char *certificate;
    char *ca;
    int agent_port; /* where poll and report are served */
};
extern const struct json_field agent_enrol_answer_fields[];

/* Answered with agent_enrol_answer; the old certificate stays valid until it expires. */
struct agent_renew {
    char *csr;
};
extern const struct json_field agent_renew_fields[];
