/* Which of the domains at this host are its own, by the journal's handoff records. */
#pragma once

#include "agent/journal/journal.h"

struct domain_owners;

bool domain_owners_read(struct domain_owners **out, struct journal *journal,
                        struct error *err) must_check;
/* False when the latest record that names the domain is one of: destination STREAMING, PREPARED or
 * ABANDONED, source RELEASED or OWNED. */
bool domain_owners_is_ours(const struct domain_owners *owners, const char *domain);
void domain_owners_free(struct domain_owners *owners);
