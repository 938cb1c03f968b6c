/* The processes of the handoff test: one agent for each end, and the network between them. */
#pragma once

#include "tests/threads/handoff/world.h"

#include <sys/types.h>

struct identity {
    char host[UUID_SIZE];
    char *key, *certificate;
};
struct fixture {
    struct world *world;
    char directory[64];
    char *ca;
    struct identity ends[2];
    int destination_port, network_port;
    pid_t network;
};

void fixture_open(struct fixture *fixture);
void fixture_close(struct fixture *fixture);
/* Starts an agent with this end's step of the epoch; with `has_failpoints` it looks for them in
 * <directory>/fp-0 (source) or fp-1. */
pid_t agent_start(struct fixture *fixture, enum end end, int64_t epoch, bool has_failpoints);
/* The record of an end whose agent does not run or only reads. */
struct handoff_record agent_record(const struct fixture *fixture, enum end end);
/* What happens to every connection that exists now. */
void network_order(struct fixture *fixture, enum network order);
