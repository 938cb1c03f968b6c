/* What the two halves of resolving share. */
#pragma once

#include "plan/plan_names.h"
#include "plan/plan_resolve.h"

struct resolver {
    const struct plan_inventory *inventory;
    const struct plan_request *request;
    struct plan_input *input;
    struct plan_names pools, hosts, srs, vms;
    struct error *err;
};

/* plan_resolve_request.c: what was asked for, once hosts, SRs and VMs are there. */
bool plan_resolve_request(struct resolver *r);

/* Index of the name; -1 after the error "<place>: expected the name of a <kind>, there is no ...".
 * The place is a format. */
int resolver_find(struct resolver *r, const struct plan_names *names, const char *kind,
                  const char *name, const char *place, ...) __attribute__((format(printf, 5, 6)));
