/* Small inputs of the planner, made by hand. */
#pragma once

#include "plan/plan.h"

#define GIB  (UINT64_C(1) << 30)
#define GBIT 125e6

/* Hosts h0.. of one pool with the same NIC, free memory and 4 slots; no SR, no VM yet; no handoff,
 * so that times are round. */
void world_init(struct plan_input *input, int hosts, double rate, uint64_t memory_free);
/* Adds a VM that shall go to `to` (-1 = anywhere, -2 = it stays); its index. */
int world_add(struct plan_input *input, int from, int to, uint64_t memory);
/* Plan that moves everything; fails the test when one is refused. */
void world_plan(const struct plan_input *input, struct plan *plan);
/* The moves of each host at any time stay within what it sends and receives. */
void world_check_rates(const struct plan *plan);
