/* What the agent does when the hypervisor says that a domain came, went or ended. */
#pragma once

#include "agent/coordinator_client/coordinator_client.h"
#include "agent/hypervisor/hypervisor.h"
#include "agent/steps/step_engine.h"

struct domain_news {
    struct coordinator_client *client;
    struct step_engine *engine;
    struct journal *journal;
};

/* The coordinator hears of a change at once. A guest that ended may be started again when no step
 * of its migration runs here and the domain is this host's by the journal: a migration that is
 * between two steps finds out by itself that the guest is in another run. `news` is borrowed. */
struct domain_watch domain_news_watch(struct domain_news *news);
