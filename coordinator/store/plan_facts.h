/* The planner's inventory, read from the database: what GET /v1/inventory exports and evacuations
 * are planned on. Memory and SR room that active migrations will still take are not free. */
#pragma once

#include "coordinator/db/db.h"
#include "plan/plan_inventory.h"

/* Rate of a NIC of which no copy was measured yet: 1 Gbit/s. */
enum { PLAN_FACTS_RATE = 125000000 };

struct plan_facts {
    struct plan_inventory inventory;
    /* ids of what stands at the same place of the inventory; owned */
    char (*pools)[UUID_SIZE];
    char (*hosts)[UUID_SIZE];
    char (*vms)[UUID_SIZE];
};

/* Pools, hosts and SRs are called by their names (SRs: by their ids, their names are the labels);
 * a VM by its name where no other has it, else by its id. `scope` as of page->scope. A host that
 * was silent for `host_lost_after_s` takes nobody, as if it was in maintenance. */
bool plan_facts_load(struct db *db, const char *scope, int host_lost_after_s,
                     struct plan_facts *facts, struct error *err) must_check;
void plan_facts_done(struct plan_facts *facts);

/* Place of an id in the inventory; -1. */
int plan_facts_vm(const struct plan_facts *facts, const char *id);
int plan_facts_host(const struct plan_facts *facts, const char *id);
int plan_facts_pool(const struct plan_facts *facts, const char *id);

/* A word of a map (name, id or "vlan:N") as the name of a network; itself when no host has it. */
bool plan_facts_network_name(struct db *db, const char *word, struct plan_name *name,
                             struct error *err) must_check;
