/* How a migration is to be run: what its request says of order, speed, patience and the moment of
 * the switch-over. */
#pragma once

#include "base/field_error.h"
#include "protocol/vocabulary.h"

/* When the VM, once it is mirrored, may go over. */
enum switchover_when { SWITCHOVER_AUTOMATIC, SWITCHOVER_MANUAL, SWITCHOVER_WINDOW };
extern const char *const switchover_when_names[]; /* "automatic", "manual", "window", NULL */

struct switchover {
    enum switchover_when when;
    /* WINDOW: seconds since 1970; 0 = open at that side. When the window closes before the VM is
     * ready the VM stays mirrored, and an operator decides. */
    int64_t not_before_s, not_after_s;
};

struct migration_policy {
    int priority; /* higher ones leave the queue first */
    int retries;  /* how often a failure that passes starts it again */
    int stall_timeout_s;
    uint64_t bandwidth_bytes_per_s; /* cap of the copy; 0 = none */
    char network[LIMIT_NAME + 1];   /* transfer network by name; "" = each host's own link */
    struct switchover switchover;
};

enum {
    POLICY_PRIORITY_LEAST = -100,
    POLICY_PRIORITY_MOST = 100,
    POLICY_RETRIES_MOST = 20,
    POLICY_STALL_TIMEOUT_LEAST_S = 5,
    POLICY_STALL_TIMEOUT_MOST_S = 86400,
    POLICY_STALL_TIMEOUT_S = 600, /* unless the request says otherwise */
    SWITCHOVER_TEXT = 1024,       /* bytes of it as JSON */
};

/* Decodes "automatic", "manual" or {"not_before": TIME, "not_after": TIME} (one of them at least,
 * RFC 3339), as JSON text. A window that is over at now_s is refused. */
bool switchover_decode(const char *text, int64_t now_s, struct switchover *out,
                       struct field_errors *errors, struct error *err) must_check;
