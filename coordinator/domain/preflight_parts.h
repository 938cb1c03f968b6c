/* The parts of preflight, for its own files only. */
#pragma once

#include "coordinator/domain/preflight.h"

void preflight_check_vm(const struct preflight_input *in, struct blocker_list *list);
void preflight_check_host(const struct preflight_input *in, const struct preflight_host *host,
                          struct blocker_list *list);
void preflight_check_hypervisor(const struct preflight_input *in, const struct preflight_host *host,
                                struct blocker_list *list);
/* NULL: the host does not run such guests, or does not tell. */
const struct inventory_guest_type *preflight_guest_type(const struct preflight_host *host,
                                                        const char *type);
/* Can the other end reach this host? */
void preflight_check_link(const struct preflight_input *in, const struct preflight_host *host,
                          struct blocker_list *list);
/* The host's network that the word (name, id or "vlan:N") means; NULL when it has none of it, or,
 * with *is_ambiguous, several. */
const struct preflight_network *preflight_find_network(const struct preflight_host *host,
                                                       const char *word, bool *is_ambiguous);
/* Where the map sends the VIF; NULL when it does not say. */
const char *preflight_network_word(const struct preflight_input *in,
                                   const struct preflight_vif *vif);
/* What the disks that go to this SR may take of it. */
uint64_t preflight_sr_needed(const struct preflight_input *in, const struct preflight_host *host,
                             const struct preflight_sr *sr);
void preflight_warn(const struct preflight_input *in, const struct preflight_host *host,
                    const struct prediction *prediction, struct blocker_list *list);
bool preflight_is_source(const struct preflight_input *in, const struct preflight_host *host);
uint64_t preflight_memory_left(const struct preflight_host *host);
/* The SR of this host where the disk goes; NULL when that is not known. */
const struct preflight_sr *preflight_target_sr(const struct preflight_input *in,
                                               const struct preflight_host *host,
                                               const struct preflight_disk *disk);
