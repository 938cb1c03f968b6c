/* Stopping the guest for the moment in which a mirror begins or ends. What we stopped we continue,
 * whatever happens: the ledger says before the stop that it may be ours, so that a restarted agent
 * continues the guest too. A guest that somebody else stopped stays stopped. */
#pragma once

#include "agent/hypervisor/hypervisor.h"
#include "agent/journal/journal.h"
#include "agent/mirror/monitor.h"

struct guest {
    const struct hypervisor_driver *driver;
    struct hypervisor *hypervisor;
    struct journal *journal;
    const char *migration, *domain;
};

struct guest_stop {
    bool is_ours;          /* it ran, and runs again after the end */
    int64_t started_at_ms; /* monotonic */
};
/* After success the block layer of the monitor's QEMU is drained and flushed, and no vCPU runs.
 * After a failure the guest is as it was. */
bool guest_stop_begin(const struct guest *guest, struct monitor *monitor, struct guest_stop *stop,
                      struct error *err) must_check;
/* Tries for long; when even that fails the ledger entry stays for guest_stop_repair. */
bool guest_stop_end(const struct guest *guest, struct monitor *monitor,
                    const struct guest_stop *stop, struct error *err) must_check;
/* Continues the guest when an agent that is gone had stopped it. `monitor` NULL: the domain is gone
 * and only the ledger is to be corrected. */
bool guest_stop_repair(const struct guest *guest, struct monitor *monitor,
                       struct error *err) must_check;
