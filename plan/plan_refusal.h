/* Why a VM is not part of the plan: a code, and everything that a person needs to mend it. */
#pragma once

#include <stddef.h>

struct plan_refusal {
    int vm;
    const char
        *code;     /* of plan_fit_codes, or one of: pinned, not-movable, no-host, cycle, together */
    char *message; /* owned */
};
struct plan_refusals {
    struct plan_refusal *items;
    size_t count;
};

/* Appends; takes the message over. A VM is in the list once. */
void plan_refusals_add(struct plan_refusals *list, int vm, const char *code, char *message);
void plan_refusals_done(struct plan_refusals *list);
