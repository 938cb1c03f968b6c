/* The host's report of itself: what the hypervisor and the SRs hold, in the words of the
 * configuration. */
#pragma once

#include "agent/hypervisor/hypervisor.h"
#include "agent/journal/journal.h"
#include "agent/storage/sr.h"

struct inventory_source {
    const struct hypervisor_driver *driver;
    struct hypervisor *hypervisor;
    struct journal *journal;
    struct sr_set *srs;
    const struct inventory_network *networks;
    size_t network_count;
    const char *link_address;
    int link_port;
    const struct inventory_link *links;
    size_t link_count;
};

/* Builds it; may block. The caller releases it with inventory_fields. */
bool inventory_build(const struct inventory_source *source, struct inventory *out,
                     struct error *err) must_check;
