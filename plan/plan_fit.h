/* May this VM be on that host? What memory and SR hold at the moment is not asked here: that
 * changes while the plan goes on. */
#pragma once

#include "plan/plan_input.h"

enum plan_fit {
    PLAN_FIT,
    PLAN_FIT_NOT_A_DESTINATION,
    PLAN_FIT_SAME_HOST,
    PLAN_FIT_CPU_VENDOR,
    PLAN_FIT_CPU_FEATURES,
    PLAN_FIT_NETWORK_UNMAPPED,
    PLAN_FIT_NETWORK_MISSING,
    PLAN_FIT_SR_UNMAPPED,
    PLAN_FIT_SR_MISSING,
    PLAN_FIT_TOO_SLOW,
    PLAN_FIT_MEMORY,
    PLAN_FIT_SR_ROOM,
    PLAN_FIT_APART,
    PLAN_FIT_COUNT
};
extern const char *const plan_fit_codes[]; /* "cpu-features" ...; NULL-terminated */

/* The first reason why not, of the first eight. */
enum plan_fit plan_fit(const struct plan_input *input, int vm, int host);
/* A sentence about that reason and what to do, for people. */
void plan_fit_say(const struct plan_input *input, int vm, int host, enum plan_fit reason, char *out,
                  size_t size);

/* SR that a disk gets on that host: its own where the host reaches it, else the mapped one; -1. */
int plan_fit_sr(const struct plan_input *input, int host, const struct plan_disk *disk);
/* Network of that host that stands for the VM's; -1 = unmapped. */
int plan_fit_network(const struct plan_input *input, int vm, int host, int network);
/* Bytes that a disk may take on an SR by its provisioning, with the tables of its format (below
 * 1/4096 and one MiB). */
uint64_t plan_fit_room(const struct plan_sr *sr, const struct plan_disk *disk);
